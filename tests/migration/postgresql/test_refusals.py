import sys
from pathlib import Path

import pytest

from bms_iot.database import inspection
from bms_iot.errors import ConfigurationError, SchemaError
from bms_iot.schema import commands
from tests.migration.conftest import Alembic
from tests.migration.postgresql.server import Server, free_port

PASSWORD = "correct-horse"


@pytest.fixture
def guarded(server: Server, url: str) -> str:
    """The database's URL for a role that needs `PASSWORD`, with another one in it."""
    create = f"CREATE ROLE guarded LOGIN SUPERUSER PASSWORD '{PASSWORD}'"
    server.psql(f"DO $$ BEGIN {create}; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    return url.replace("bms@", "guarded:battery-staple@")


def refused(alembic: Alembic, monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    """What `alembic` says on stderr when it refuses, which is for people."""
    monkeypatch.setenv("BMS_DATABASE_URL", url)
    result = alembic("upgrade", "head")
    assert (result.returncode, result.stdout) == (SchemaError.exit_code, "")
    assert "Traceback" not in result.stderr
    return result.stderr


def test_a_server_that_is_down_is_named(alembic: Alembic, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"127.0.0.1:{free_port()}"

    assert f"{address}/site cannot be reached" in refused(alembic, monkeypatch, f"postgresql+asyncpg://bms@{address}/site")


def test_a_database_that_is_missing_is_named_with_the_command_that_makes_it(
    server: Server, alembic: Alembic, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refused(alembic, monkeypatch, server.url("nowhere"))

    assert 'database "nowhere" does not exist' in said
    assert "createdb nowhere" in said


def test_a_wrong_password_is_refused_and_never_shown(guarded: str, alembic: Alembic, monkeypatch: pytest.MonkeyPatch) -> None:
    said = refused(alembic, monkeypatch, guarded)

    assert "password authentication failed" in said
    assert "battery-staple" not in said


def test_the_right_password_is_taken_and_never_shown(
    guarded: str, alembic: Alembic, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    url = guarded.replace("battery-staple", PASSWORD)
    monkeypatch.setenv("BMS_DATABASE_URL", url)

    results = [alembic("upgrade", "head"), alembic("current"), alembic("downgrade", "-99")]

    assert [result.returncode for result in results][:2] == [0, 0]
    shown = "".join(result.stdout + result.stderr for result in results) + str(inspection.status(url)) + "".join(capfd.readouterr())
    assert PASSWORD not in shown


@pytest.mark.parametrize("bad", ["postgresql//bms:secret@127.0.0.1/site", "postgresql://bms:secret@127.0.0.1/site?sslmode=require"])
def test_a_url_that_cannot_be_used_is_refused_without_its_password(bad: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        inspection.status(bad)

    assert "secret" not in f"{refusal.value}{refusal.value.hint}"


def test_without_asyncpg_the_command_that_installs_it_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)

    with pytest.raises(ConfigurationError) as refusal:
        commands.upgrade(url)

    assert refusal.value.hint == "pip install 'bms-iot[postgresql]'"


def test_a_connection_lost_in_mid_run_is_said_so(server: Server, url: str, path: Path) -> None:
    from bms_iot.database import postgresql
    from tests.migration.postgresql.contents import resolved

    with pytest.raises(SchemaError, match="cannot be reached"):
        postgresql.write(
            resolved(url), lambda connection: connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
        )
