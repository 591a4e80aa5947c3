from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.migration.checkout import Checkout
from tests.migration.postgresql.server import Server, running
from tests.migration.test_autogenerate import TABLE

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A copy whose models have a new table, two new columns and a new index."""
    checkout = Checkout.copy(tmp_path)
    checkout.model("visits").write_text(TABLE)
    checkout.replace(
        "bacnet_readers",
        "    ip_address: str\n",
        "    ip_address: str = Field(index=True)\n"
        "    room: str | None = None\n"
        '    is_spare: bool = Field(default=False, sa_column_kwargs={"server_default": false()})\n',
    )
    checkout.replace("bacnet_readers", "import DateTime", "import DateTime, false")
    return checkout


def goes_up_and_down(checkout: Checkout, server: Server, url: str) -> None:
    database = url.rsplit("/", 1)[1]
    checkout.ok("alembic upgrade head", BMS_DATABASE_URL=url)
    assert "No new upgrade operations detected." in checkout.ok("alembic check", BMS_DATABASE_URL=url).stdout
    insert = (
        "INSERT INTO bacnet_readers (id, iot_device_id, ip_address, subnet_mask, bacnet_device_id, port, bbmd_enabled, is_active,"
    )
    server.psql(
        f"{insert} created_at, updated_at) VALUES ('r', 'd', '10.0.0.1', 24, 1, 47808, false, true, now(), now())", database
    )
    server.psql("UPDATE bacnet_readers SET room = 'attic'", database)
    refused = checkout.shell("alembic downgrade -1", BMS_DATABASE_URL=url)
    assert refused.returncode == 1
    assert "1 rows of bacnet_readers would be lost" in refused.stderr
    server.psql("UPDATE bacnet_readers SET room = NULL", database)
    checkout.ok("alembic downgrade -1", BMS_DATABASE_URL=url)
    assert server.psql("SELECT count(*) FROM bacnet_readers", database).stdout == "1\n"
    checkout.ok("alembic upgrade head", BMS_DATABASE_URL=url)


def test_what_was_written_beside_sqlite_is_right_for_postgresql(checkout: Checkout, server: Server) -> None:
    checkout.autogenerate("add visits and rooms")

    goes_up_and_down(checkout, server, server.new())


def test_what_was_written_beside_postgresql_is_right_and_leaves_strangers_alone(checkout: Checkout, server: Server) -> None:
    url = server.new()
    checkout.ok("alembic upgrade head", BMS_DATABASE_URL=url)
    server.psql("CREATE TABLE visitors (name TEXT); CREATE INDEX ix_mine ON controller_points (units)", url.rsplit("/", 1)[1])

    result = checkout.ok('alembic revision --autogenerate -m "add visits and rooms"', BMS_DATABASE_URL=url)

    (file,) = checkout.versions.glob("*_add_visits_and_rooms.py")
    assert "op.drop_table('visitors')" not in file.read_text()
    assert "ix_mine" not in file.read_text()
    for stranger in ("table visitors", "index ix_mine"):
        assert stranger in result.stderr
    checkout.ok(f"bms-iot db lint {file}")
    goes_up_and_down(checkout, server, url)
    checkout.ok("alembic upgrade head")  # and on SQLite, where it was not written
    assert "No new upgrade operations detected." in checkout.ok("alembic check").stdout
    checkout.ok("alembic downgrade -1")
