import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from bms_iot.database import gate, inspection
from bms_iot.errors import SchemaDrift, SchemaError, UnknownShape
from bms_iot.schema import commands
from tests.migration.conftest import LEGACY, Alembic, load_legacy, upgrade, url
from tests.migration.shape import shape

HEAD = "4bc16f80b4c9"


def change(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            database.execute(statement)
    return path


def create(path: Path, name: str, change_sql: list[tuple[str, str]]) -> Path:
    """One of the field's databases, its SQL changed by regular expressions first."""
    sql = (LEGACY / f"{name}.sql").read_text(encoding="utf-8")
    for pattern, replacement in change_sql:
        sql, count = re.subn(pattern, replacement, sql, flags=re.DOTALL)
        assert count
    with closing(sqlite3.connect(path)) as database:
        database.executescript(sql)
    return path


def runs(path: Path) -> list[tuple[str, str | None, str | None]]:
    return [
        (entry["kind"], entry["from_revision"], entry["to_revision"])
        for entry in inspection.history(url(path))
        if entry["to_revision"]
    ]


@pytest.mark.parametrize(
    ("name", "adoption"),
    [
        ("pre_alembic", ("adopt", None, "7b0d5e1c94aa")),
        ("create_all", ("adopt", None, "f0a65dd2e313")),
        ("wedged_empty", ("mend", None, "7b0d5e1c94aa")),
    ],
)
def test_plain_alembic_recognises_what_has_no_revision(
    path: Path, tmp_path: Path, alembic: Alembic, name: str, adoption: tuple[str, str | None, str]
) -> None:
    load_legacy(path, name)

    result = alembic("upgrade", "head")

    assert result.returncode == 0, result.stderr
    assert runs(path) == [adoption, ("upgrade", adoption[2], HEAD)]
    upgrade(tmp_path / "new.db")
    assert shape(path) == shape(tmp_path / "new.db")


def test_adopting_stamps_and_goes_no_further(path: Path) -> None:
    load_legacy(path, "create_all")

    commands.adopt(url(path))

    assert gate.inspect(path).revision == "f0a65dd2e313"
    assert runs(path) == [("adopt", None, "f0a65dd2e313")]


def test_adopting_makes_no_database(path: Path) -> None:
    with pytest.raises(SchemaError, match="no database"):
        commands.adopt(url(path))

    assert not path.exists()


def test_columns_in_another_order_and_names_in_quotes_are_no_difference(path: Path) -> None:
    create(
        path,
        "pre_alembic",
        [
            (r"status_flags VARCHAR, event_state VARCHAR,", '"event_state" varchar,\n  status_flags   VARCHAR, -- flags\n'),
            (r"CREATE TABLE controller_points", 'create table "controller_points"'),
            (r"INSERT INTO.*?\);\n", ""),
        ],
    )

    upgrade(path)

    assert runs(path)[0] == ("adopt", None, "7b0d5e1c94aa")


def test_a_generated_column_may_be_not_null_or_not(path: Path) -> None:
    create(path, "create_all", [(r"BIGINT GENERATED ALWAYS", "BIGINT NOT NULL GENERATED ALWAYS")])

    upgrade(path)

    assert runs(path)[0] == ("adopt", None, "f0a65dd2e313")


def half_applied(path: Path, stamp: str | None, *more: str) -> Path:
    load_legacy(path, "pre_alembic")
    change(path, "ALTER TABLE controller_points ADD COLUMN min_pres_value FLOAT", *more)
    change(
        path, "ALTER TABLE controller_points ADD COLUMN max_pres_value FLOAT", "UPDATE controller_points SET max_pres_value = 7.5"
    )
    if stamp:
        change(path, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        change(path, f"INSERT INTO alembic_version VALUES ('{stamp}')")
    return path


DEPLOYMENT = """
CREATE TABLE deployment_config (id INTEGER NOT NULL, organization_id VARCHAR NOT NULL, site_id VARCHAR NOT NULL,
device_id VARCHAR NOT NULL, config_metadata JSON, created_at DATETIME NOT NULL, updated_at DATETIME NOT NULL, PRIMARY KEY (id))
"""
DEPLOYED = "INSERT INTO deployment_config VALUES (1, 'org_a', 's', 'd', NULL, '2025-01-01 00:00:00', '2025-01-01 00:00:00')"


@pytest.mark.parametrize("stamp", [None, "7b0d5e1c94aa"])
@pytest.mark.parametrize("more", [(), (DEPLOYMENT,), (DEPLOYMENT, DEPLOYED)])
def test_an_upgrade_that_broke_off_is_completed_column_by_column(
    path: Path, tmp_path: Path, stamp: str | None, more: tuple[str, ...]
) -> None:
    half_applied(path, stamp, *more)
    with closing(sqlite3.connect(path)) as database:
        points = database.execute("SELECT count(DISTINCT iot_device_point_id) FROM controller_points").fetchone()[0]

    upgrade(path)

    assert runs(path)[0] == ("mend", stamp, "dc3c962443cb")
    upgrade(tmp_path / "new.db")
    assert shape(path) == shape(tmp_path / "new.db")
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*), min(max_pres_value) FROM controller_points").fetchone() == (points, 7.5)
        assert database.execute("SELECT count(*) FROM deployment_config").fetchone()[0] == len(more) // 2


def test_an_empty_table_of_another_shape_that_broke_off_makes_way(path: Path) -> None:
    load_legacy(path, "at_dc3c962443cb")
    change(path, "CREATE TABLE bacnet_config (id INTEGER PRIMARY KEY, something TEXT)")

    upgrade(path)

    assert gate.inspect(path).state is gate.State.HEAD


def test_a_copy_that_a_failed_rebuild_left_behind_is_removed(path: Path) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    change(path, "CREATE TABLE _alembic_tmp_controller_points (id INTEGER)")

    upgrade(path)

    assert gate.inspect(path).state is gate.State.HEAD


def test_a_stamp_that_runs_ahead_of_the_tables_is_put_right(path: Path) -> None:
    load_legacy(path, "at_dc3c962443cb")
    change(path, "UPDATE alembic_version SET version_num = 'f0a65dd2e313'")

    upgrade(path)

    assert runs(path) == [("adopt", "f0a65dd2e313", "dc3c962443cb"), ("upgrade", "dc3c962443cb", HEAD)]


def other_application(path: Path) -> Path:
    return change(path, "CREATE TABLE songs (title TEXT)", "INSERT INTO songs VALUES ('one')")


def without_a_column(path: Path) -> Path:
    return create(path, "pre_alembic", [(r"units VARCHAR, ", ""), (r"INSERT INTO.*?\);\n", "")])


def with_a_strange_column(path: Path) -> Path:
    load_legacy(path, "create_all")
    return change(path, "ALTER TABLE controller_points ADD COLUMN colour TEXT")


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (other_application, "songs"),
        (without_a_column, "column units of controller_points is missing"),
        (with_a_strange_column, "column colour of controller_points is not part of the schema"),
    ],
)
def test_an_unknown_shape_is_refused_with_the_difference_and_the_command_that_forces_it(
    path: Path, alembic: Alembic, make: Callable[[Path], Path], named: str
) -> None:
    make(path)
    before = path.read_bytes()

    result = alembic("upgrade", "head")

    assert result.returncode == UnknownShape.exit_code, result.stderr
    assert named in result.stderr
    assert "allow-drift=yes" in result.stderr
    assert path.read_bytes() == before


def test_a_schema_that_is_not_the_stamps_is_refused_with_the_difference(path: Path, alembic: Alembic) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    change(path, "DROP INDEX ix_deployment_config_site_id", "ALTER TABLE bacnet_config ADD COLUMN colour TEXT")
    before = path.read_bytes()

    result = alembic("upgrade", "head")

    assert result.returncode == SchemaDrift.exit_code, result.stderr
    assert "index ix_deployment_config_site_id of deployment_config is missing" in result.stderr
    assert "column colour of bacnet_config is not part of the schema" in result.stderr
    assert path.read_bytes() == before


def test_drift_can_be_allowed_and_the_ledger_says_so(path: Path, alembic: Alembic) -> None:
    with_a_strange_column(path)

    result = alembic("-x", "allow-drift=yes", "upgrade", "f0a65dd2e313")

    assert result.returncode == 0, result.stderr
    entry = inspection.history(url(path))[0]
    assert entry["detail"]["overlooked"] == ["column colour of controller_points is not part of the schema"]


OWN = {
    "notes": "CREATE TABLE notes (text TEXT)",
    "own_index": "CREATE INDEX own_index ON controller_points (units COLLATE NOCASE DESC) WHERE units IS NOT NULL",
    "own_view": "CREATE VIEW own_view AS SELECT id, present_value FROM controller_points",
    "own_trigger": "CREATE TRIGGER own_trigger AFTER INSERT ON iot_device_status BEGIN INSERT INTO notes VALUES ('seen'); END",
}


@pytest.mark.parametrize("name", ["at_f0a65dd2e313", "create_all"])
def test_what_the_owner_added_is_kept_and_named_in_the_plan(path: Path, name: str) -> None:
    load_legacy(path, name)
    change(path, *OWN.values(), "INSERT INTO notes VALUES ('mine')")

    plan = commands.plan(url(path))
    upgrade(path)

    assert {thing.split()[1] for thing in plan.owners} == OWN.keys() - {"notes"}
    with closing(sqlite3.connect(path)) as database:
        kept = dict(database.execute("SELECT name, sql FROM sqlite_master WHERE name LIKE 'own%' OR name = 'notes'").fetchall())
        assert kept == OWN
        assert database.execute("SELECT text FROM notes").fetchall() == [("mine",)]
        assert database.execute("SELECT count(*) FROM own_view").fetchone()[0] > 0


def test_what_the_owner_added_and_no_longer_fits_is_named_and_nothing_is_changed(path: Path) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    change(path, "CREATE UNIQUE INDEX uq_controller_points_identity ON deployment_config (id)")
    before = path.read_bytes()

    with pytest.raises(SchemaError, match="uq_controller_points_identity"):
        upgrade(path)

    assert path.read_bytes() == before
