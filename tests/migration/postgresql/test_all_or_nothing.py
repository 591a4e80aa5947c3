import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from bms_iot.database import inspection, manifest, postgresql
from bms_iot.errors import DatabaseLocked, SchemaError, SchemaNewer
from bms_iot.schema import commands
from tests.migration.conftest import load_legacy
from tests.migration.postgresql.contents import fill, resolved
from tests.migration.postgresql.server import Server
from tests.migration.test_all_or_nothing import KILLED, Interrupted, fault_at

FIELD = "f0a65dd2e313"
FAULTS = 8

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def field(url: str, path: Path) -> str:
    """A database as the field has it."""
    commands.upgrade(url, FIELD)
    fill(url, load_legacy(path, "moved_and_shared"))
    return url


def dump(server: Server, url: str) -> str:
    return server.dump(url.rsplit("/", 1)[1])


def runs(url: str) -> list[tuple[str, str]]:
    query = sa.text("SELECT kind, to_revision FROM schema_ledger WHERE to_revision IS NOT NULL ORDER BY id")
    return postgresql.read(resolved(url), lambda connection: [(row[0], row[1]) for row in connection.execute(query)])


def test_a_fault_in_mid_run_leaves_the_database_as_it_was(server: Server, field: str) -> None:
    before = dump(server, field)
    copy = server.new(template=field.rsplit("/", 1)[1])
    with fault_at(-1) as all_of_them:
        commands.upgrade(copy)

    for number in range(1, len(all_of_them), len(all_of_them) // FAULTS):
        with fault_at(number), pytest.raises(Interrupted):
            commands.upgrade(field)
        assert dump(server, field) == before, all_of_them[number]

    commands.upgrade(field)
    assert inspection.status(field).state == "head"


def test_a_killed_upgrade_leaves_the_database_as_it_was(server: Server, field: str) -> None:
    before = dump(server, field)
    script = KILLED.replace('"DROP TABLE"', '"DELETE FROM controller_points"')

    killed = subprocess.run([sys.executable, "-c", script, field], check=False, timeout=60)

    assert killed.returncode == -9
    assert dump(server, field) == before
    commands.upgrade(field)
    assert inspection.status(field).state == "head"


def test_an_upgrade_at_head_changes_nothing(server: Server, field: str) -> None:
    commands.upgrade(field)
    before = dump(server, field)

    commands.upgrade(field)

    assert dump(server, field) == before


def test_of_two_upgrades_at_once_one_waits_and_finds_it_done(field: str, start: Start) -> None:
    both = [start("upgrade", "head"), start("upgrade", "head")]

    for process in both:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    assert runs(field) == [("upgrade", FIELD), ("upgrade", manifest.head())]


def test_who_waits_too_long_is_told_who_holds_it(server: Server, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "LOCK_SECONDS", 1)
    before = dump(server, field)
    held, over = threading.Event(), threading.Event()

    def hold(_connection: sa.Connection) -> None:
        held.set()
        assert over.wait(timeout=30)

    holder = threading.Thread(target=postgresql.write, args=(resolved(field), hold))
    holder.start()
    try:
        assert held.wait(timeout=30)
        began = time.monotonic()
        with pytest.raises(DatabaseLocked, match="another migration or the gateway holds"):
            commands.upgrade(field)
        assert time.monotonic() - began < 10
    finally:
        over.set()
        holder.join(timeout=30)
    assert dump(server, field) == before


def test_a_newer_database_is_refused_and_left_alone(server: Server, url: str) -> None:
    commands.upgrade(url)
    server.psql("UPDATE alembic_version SET version_num = 'ffffffffffff'", url.rsplit("/", 1)[1])
    before = dump(server, url)

    with pytest.raises(SchemaNewer, match="ffffffffffff"):
        commands.upgrade(url)

    assert dump(server, url) == before
    assert inspection.status(url).state == "newer"


def test_values_that_a_downgrade_would_lose_stop_it(server: Server, field: str) -> None:
    before = dump(server, field)

    with pytest.raises(SchemaError, match="would be lost"):
        commands.downgrade(field, "base")

    assert dump(server, field) == before


def test_a_revision_that_ends_the_transaction_is_noticed(url: str) -> None:
    with pytest.raises(SchemaError, match="ended the transaction by itself"):
        postgresql.write(resolved(url), lambda connection: connection.exec_driver_sql("COMMIT"))
