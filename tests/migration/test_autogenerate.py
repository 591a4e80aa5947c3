import ast
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bms_iot.database import manifest
from tests.migration.checkout import Checkout
from tests.migration.conftest import load_legacy
from tests.migration.shape import shape

POSTGRESQL = "postgresql+asyncpg://localhost/unused"


@pytest.fixture(scope="module")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy of the checkout, and a field database brought to its head. Not to be changed."""
    checkout = Checkout.copy(tmp_path_factory.mktemp("populated"))
    load_legacy(checkout.database, "at_f0a65dd2e313")
    checkout.ok("alembic upgrade head")
    return checkout


@pytest.fixture
def checkout(populated: Checkout, tmp_path: Path) -> Checkout:
    """One to be changed."""
    copy = Checkout(root=tmp_path / "checkout", database=tmp_path / "bms_bacnet.db")
    shutil.copytree(populated.root, copy.root)
    shutil.copy(populated.database, copy.database)
    return copy


def rows(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names if name != "schema_ledger"}


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def is_right(checkout: Checkout, file: Path) -> None:
    """The file needs nothing else, goes up on a populated database, leaves no difference, and comes down without a trace."""
    text = file.read_text()
    roots = {
        (node.module or "").split(".")[0] if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert roots == {"sqlalchemy", "alembic"}
    assert "schema_ledger" not in text
    before, counted = shape(checkout.database), rows(checkout.database)
    checkout.ok(f"bms-iot db lint {file}")
    checkout.ok("alembic upgrade head")
    assert "No new upgrade operations detected." in checkout.ok("alembic check").stdout
    assert shape(checkout.database) != before
    assert {name: rows(checkout.database)[name] for name in counted} == counted
    checkout.ok("alembic downgrade -1")
    assert (shape(checkout.database), rows(checkout.database)) == (before, counted)
    checkout.ok("alembic upgrade head")


def test_an_added_column(checkout: Checkout) -> None:
    checkout.replace(
        "controller_points", "    units: str | None = None\n", "    units: str | None = None\n    room: str | None = None\n"
    )

    file, _ = checkout.autogenerate("add room to controller_points")

    assert re.fullmatch(r"\d{4}_\d\d_\d\d_[0-9a-f]{12}_add_room_to_controller_points\.py", file.name)
    assert "op.add_column('controller_points', sa.Column('room', sa.String(), nullable=True))" in file.read_text()
    is_right(checkout, file)
    execute(checkout.database, "UPDATE controller_points SET room = 'attic' WHERE id = (SELECT min(id) FROM controller_points)")
    refused = checkout.shell("alembic downgrade -1")
    assert refused.returncode == 1
    assert "1 rows of controller_points would be lost (those with room IS NOT NULL)" in refused.stderr


TABLE = '''"""`visits`: who came."""
import enum
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from bms_iot.models.columns import by_name, created_at_milliseconds, now


class Reason(enum.Enum):
    REPAIR = "repair"
    CHECK = "check"


class Visits(SQLModel, table=True):
    __tablename__ = "visits"

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(index=True)
    badge: str = Field(unique=True)
    reason: Reason = Field(sa_type=by_name(Reason, 12))
    is_over: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    reader_id: str = Field(foreign_key="bacnet_readers.id")
    created_at: datetime = Field(default_factory=now, sa_type=sa.DateTime)
    created_at_unix_milli_timestamp: int | None = Field(default=None, sa_column=created_at_milliseconds())
'''


def test_a_new_table_for_both_databases(checkout: Checkout) -> None:
    checkout.model("visits").write_text(TABLE)

    file, _ = checkout.autogenerate("create visits")

    text = file.read_text()
    for name in ("pk_visits", "uq_visits_badge", "fk_visits_reader_id_bacnet_readers", "ix_visits_name"):
        assert f"op.f('{name}')" in text
    is_right(checkout, file)
    printed = checkout.ok(f"alembic upgrade {manifest.head()}:head --sql", BMS_DATABASE_URL=POSTGRESQL).stdout
    assert "is_over BOOLEAN DEFAULT false NOT NULL" in printed
    assert "GENERATED ALWAYS AS ((floor(EXTRACT(epoch FROM created_at)))::bigint * 1000) STORED" in printed


def test_a_changed_type_and_what_is_to_decide_about_it(checkout: Checkout) -> None:
    checkout.replace("bacnet_readers", "    bacnet_device_id: int\n", "    bacnet_device_id: int = Field(sa_type=BigInteger)\n")
    checkout.replace("bacnet_readers", "import DateTime", "import BigInteger, DateTime")

    file, said = checkout.autogenerate("widen bacnet_device_id")

    assert "lossy-cast: bacnet_readers.bacnet_device_id from BIGINT to INTEGER can lose values" in said
    text = file.read_text()
    refusal = '    op.get_context().opts["run"].refuse_rows("bacnet_readers", "bacnet_device_id > 2147483647")\n'
    head, down = text.split("def downgrade() -> None:\n")
    file.write_text(f"{head}def downgrade() -> None:\n{refusal}{down}")
    is_right(checkout, file)


def test_a_rebuild_that_batch_mode_cannot_do_is_to_be_decided(checkout: Checkout) -> None:
    checkout.replace("controller_points", "    point_id: int\n", "    point_id: int = Field(sa_type=BigInteger)\n")
    checkout.replace("controller_points", "import DateTime, Index", "import BigInteger, DateTime, Index")

    _, said = checkout.autogenerate("widen point_id")
    print(_.read_text(), said)

    assert "batch: batch mode rebuilds controller_points, and refuses or loses: generated column" in said
    assert "rebuild by hand for SQLite" in said


def test_a_new_member_of_an_enum_is_no_migration(checkout: Checkout) -> None:
    health = checkout.root / "src" / "bms_iot" / "domain" / "health.py"
    text = health.read_text()
    assert "class MonitoringStatus" in text
    health.write_text(
        re.sub(r"(class MonitoringStatus\(.*?\n)(    \w+ = )", r'\1    RESTING = "resting"\n\2', text, count=1, flags=re.DOTALL)
    )
    assert "RESTING" in health.read_text()

    assert "No new upgrade operations detected." in checkout.ok("alembic check").stdout
    file, said = checkout.autogenerate("add a member")

    assert "op." not in file.read_text().split("def upgrade")[1].split("def downgrade")[0]
    assert "models and revisions agree" in said
    assert "a new member of an enum is no migration" in said


def test_added_indexes_also_on_an_expression(checkout: Checkout) -> None:
    checkout.replace("bacnet_readers", "    ip_address: str\n", "    ip_address: str = Field(index=True)\n")
    checkout.replace(
        "deployment_config",
        '__tablename__ = "deployment_config"\n',
        '__tablename__ = "deployment_config"\n'
        '    __table_args__ = (Index("ix_deployment_config_lower_site_id", text("lower(site_id)")),)\n',
    )
    checkout.replace("deployment_config", "import JSON, DateTime", "import JSON, DateTime, Index, text")

    assert checkout.shell("alembic check").returncode != 0
    file, _ = checkout.autogenerate("index readers and sites")

    text = file.read_text()
    assert "op.create_index(op.f('ix_bacnet_readers_ip_address'), 'bacnet_readers', ['ip_address'], unique=False)" in text
    assert "op.create_index('ix_deployment_config_lower_site_id', 'deployment_config'" in text
    is_right(checkout, file)


def test_what_no_revision_made_is_left_alone_and_named(checkout: Checkout) -> None:
    strangers = {
        "table visitors": "CREATE TABLE visitors (name TEXT)",
        "index ix_mine": "CREATE INDEX ix_mine ON controller_points (units)",
        "view glance": "CREATE VIEW glance AS SELECT present_value FROM controller_points",
        "trigger ring": "CREATE TRIGGER ring AFTER INSERT ON boots BEGIN SELECT 1; END",
        "column mine": "ALTER TABLE boots ADD COLUMN mine TEXT",
    }
    execute(checkout.database, *strangers.values())

    checked = checkout.ok("alembic check")
    file, said = checkout.autogenerate("nothing")

    assert "No new upgrade operations detected." in checked.stdout
    assert "op." not in file.read_text().split("def upgrade")[1].split("def downgrade")[0]
    for stranger in strangers:
        assert stranger in checked.stderr
        assert stranger in said


def test_a_removed_column_is_a_contract_step(checkout: Checkout) -> None:
    checkout.replace("deployment_config", "    config_metadata: dict[str, Any] | None = Field(default=None, sa_type=JSON)\n", "")

    file, _ = checkout.autogenerate("drop config_metadata")

    text = file.read_text()
    revision = re.search(r'revision: str = "(\w+)"', text)
    assert revision is not None
    assert f'compat_floor: str | None = "{revision[1]}"' in text
    assert "op.drop_column('deployment_config', 'config_metadata')" in text
    checkout.ok("alembic upgrade head")
    assert "No new upgrade operations detected." in checkout.ok("alembic check").stdout


def test_a_removed_table_declares_the_rows_that_go(checkout: Checkout) -> None:
    checkout.model("bacnet_readers").unlink()

    file, _ = checkout.autogenerate("drop bacnet_readers")

    assert 'row_loss: tuple[str, ...] = ("bacnet_readers",)' in file.read_text()
    checkout.ok("alembic upgrade head")
    assert "bacnet_readers" not in rows(checkout.database)


def test_a_rename_is_called_by_its_name(checkout: Checkout) -> None:
    checkout.replace("bacnet_readers", "    bbmd_server_ip: str | None = None\n", "    bbmd_host: str | None = None\n")

    _, said = checkout.autogenerate("rename bbmd_server_ip")

    assert "rename: bacnet_readers.bbmd_server_ip goes and bbmd_host comes: a rename done so loses every value" in said


def test_a_not_null_column_without_a_default_is_to_be_decided_and_fails_without_a_trace(checkout: Checkout) -> None:
    checkout.replace("bacnet_readers", "    ip_address: str\n", "    ip_address: str\n    label: str\n")
    before = checkout.database.read_bytes()

    _, said = checkout.autogenerate("add label")

    assert "not-null: bacnet_readers.label is NOT NULL without a server default" in said
    assert checkout.shell("alembic upgrade head").returncode == 1
    assert checkout.database.read_bytes() == before


@pytest.mark.parametrize("content", ["import nowhere\n", "def broken(:\n", "raise RuntimeError('half written')\n"])
def test_a_broken_model_stops_everything_with_one_sentence(checkout: Checkout, content: str) -> None:
    checkout.model("half_written").write_text(content)
    before, versions = checkout.database.read_bytes(), set(checkout.versions.glob("*.py"))

    for command in ('alembic revision --autogenerate -m "oops"', "alembic upgrade head"):
        result = checkout.shell(command)
        assert result.returncode == 1
        assert "bms-iot: bms_iot.models.half_written cannot be imported: " in result.stderr
        assert "Traceback" not in result.stderr

    assert set(checkout.versions.glob("*.py")) == versions
    assert checkout.database.read_bytes() == before


def test_a_model_is_found_without_being_imported_anywhere(checkout: Checkout) -> None:
    checkout.model("visits").write_text(TABLE)

    assert "'visits'" in checkout.shell("alembic check").stderr


def test_a_fresh_clone_needs_no_database(checkout: Checkout) -> None:
    checkout.database.unlink()
    checkout.model("visits").write_text(TABLE)

    file, _ = checkout.autogenerate("create visits")

    assert "op.create_table('visits'" in file.read_text()
    assert not checkout.database.exists()
