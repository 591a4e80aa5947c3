import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bms_iot.database import inspection, manifest
from bms_iot.errors import SchemaError
from bms_iot.schema import commands
from tests.migration.conftest import Alembic, load_legacy
from tests.migration.postgresql.contents import fill
from tests.migration.postgresql.server import Server
from tests.migration.postgresql.test_schema import schema

FIELD = "f0a65dd2e313"


def name(url: str) -> str:
    return url.rsplit("/", 1)[1]


def test_alembics_own_verbs_work(url: str, alembic: Alembic) -> None:
    assert alembic("upgrade", "head").returncode == 0
    assert alembic("current").stdout == f"{manifest.head()} (head)\n"
    assert alembic("heads").stdout == f"{manifest.head()} (head)\n"
    assert "(head) (current)" in alembic("history", "-i").stdout
    assert f"Rev: {manifest.head()}" in alembic("show", "current").stdout
    assert alembic("downgrade", "base").returncode == 0
    assert alembic("current").stdout == ""
    assert schema(url) == {}
    assert alembic("stamp", FIELD).returncode == 0
    assert alembic("current").stdout == f"{FIELD}\n"


def test_our_own_verbs_say_where_it_stands_and_never_the_password(server: Server, url: str) -> None:
    shown = inspection.status(url.replace("bms@", "bms:secret@"))
    assert (shown.state, shown.revision) == ("unstamped", None)
    assert "secret" not in shown.database

    commands.upgrade(url, FIELD)
    assert inspection.status(url).pending[-1] == manifest.head()
    commands.upgrade(url)
    assert inspection.status(url).state == "head"


@pytest.mark.parametrize("verb", [commands.plan, commands.adopt])
def test_what_only_a_file_has_is_refused_and_upgrades_nothing(url: str, verb: Callable[[str], object]) -> None:
    commands.upgrade(url, FIELD)

    with pytest.raises(SchemaError, match="is no file"):
        verb(url)

    assert inspection.status(url).revision == FIELD


@pytest.mark.parametrize("verb", ["current", "history -i", "check", "heads", "show head"])
def test_a_verb_that_reads_begins_no_writing_transaction(server: Server, url: str, alembic: Alembic, verb: str) -> None:
    commands.upgrade(url)
    # Without a transaction id nothing can have been written; of all databases here only this one is in use.
    before = server.psql("SELECT pg_current_snapshot()", name(url)).stdout

    assert alembic(*verb.split()).returncode == 0

    after = server.psql("SELECT pg_current_snapshot()", name(url)).stdout
    if verb == "check":  # makes the models as temporary tables, and takes them back
        assert server.psql("SELECT count(*) FROM pg_class WHERE relpersistence = 't'", name(url)).stdout == "0\n"
    else:
        assert after == before


def test_autogenerate_writes_a_revision_without_operations_at_head(url: str, alembic: Alembic, ini: Path, tmp_path: Path) -> None:
    commands.upgrade(url)
    migrations = tmp_path / "migrations"
    shutil.copytree(manifest.MIGRATIONS, migrations)
    ini.write_text(ini.read_text().replace("bms_iot:migrations", str(migrations)))

    result = alembic("revision", "--autogenerate", "-m", "nothing new")

    assert result.returncode == 0, result.stderr
    [written] = migrations.glob("versions/*nothing_new.py")
    assert re.search(r"def upgrade\(\) -> None:\n    (# .*\n    )*pass\n", written.read_text())


@pytest.mark.parametrize("options", [(), ("-v", "ON_ERROR_STOP=0")])
def test_printed_sql_makes_the_schema_of_an_upgrade(server: Server, url: str, alembic: Alembic, options: tuple[str, ...]) -> None:
    server.psql(alembic("upgrade", "head", "--sql").stdout, name(url), *options)

    other = server.new()
    commands.upgrade(other)
    assert schema(url) == schema(other)
    assert inspection.status(url).state == "head"


def test_a_downgrade_prints_as_well(server: Server, url: str, alembic: Alembic) -> None:
    commands.upgrade(url)

    server.psql(alembic("downgrade", f"head:{FIELD}", "--sql").stdout, name(url))

    other = server.new()
    commands.upgrade(other, FIELD)
    assert schema(url) == schema(other)
    assert inspection.status(url).revision == FIELD


@pytest.mark.parametrize("options", [(), ("-v", "ON_ERROR_STOP=0")])
def test_printed_sql_leaves_rows_that_sql_cannot_carry_over(
    server: Server, url: str, alembic: Alembic, path: Path, options: tuple[str, ...]
) -> None:
    commands.upgrade(url, FIELD)
    fill(url, load_legacy(path, "moved_and_shared"))
    before = dump(server, url)

    result = server.psql(alembic("upgrade", f"{FIELD}:head", "--sql").stdout, name(url), *(options or ("-v", "ON_ERROR_STOP=1")))

    assert "rows that SQL alone cannot carry over" in result.stderr
    assert dump(server, url) == before


def test_printed_sql_leaves_a_database_at_another_revision(server: Server, url: str, alembic: Alembic) -> None:
    commands.upgrade(url, "dc3c962443cb")
    before = dump(server, url)

    result = server.psql(alembic("upgrade", f"{FIELD}:head", "--sql").stdout, name(url), "-v", "ON_ERROR_STOP=0")

    assert f"the database is not at {FIELD}" in result.stderr
    assert dump(server, url) == before


def dump(server: Server, url: str) -> str:
    return server.dump(name(url))
