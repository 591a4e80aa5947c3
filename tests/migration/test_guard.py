"""What a revision may not do, and what it may not lose."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bms_iot.errors import SchemaError
from bms_iot.schema import commands
from tests.migration.conftest import load_legacy, upgrade, url
from tests.migration.planting import Orchard
from tests.migration.test_refusals import sums

FORBIDDEN = [
    ('op.execute("COMMIT")', "COMMIT"),
    ('op.execute("ROLLBACK")', "ROLLBACK"),
    ("op.get_bind().connection.driver_connection.commit()", "COMMIT"),
    ('op.get_bind().connection.driver_connection.executescript("CREATE TABLE x (a)")', "COMMIT"),
    ("op.execute(\"ATTACH ':memory:' AS other\")", "ATTACH"),
    ('op.execute("PRAGMA foreign_keys=ON")', "PRAGMA foreign_keys"),
    ('op.execute("PRAGMA journal_mode=DELETE")', "PRAGMA journal_mode"),
    ('op.execute("PRAGMA synchronous=OFF")', "PRAGMA synchronous"),
    ('op.execute("PRAGMA writable_schema=ON")', "PRAGMA writable_schema"),
    ('try:\n    op.execute("PRAGMA writable_schema=ON")\nexcept Exception:\n    pass', "PRAGMA writable_schema"),
]


@pytest.mark.parametrize(("body", "named"), FORBIDDEN, ids=[f"{number} {named}" for number, (_, named) in enumerate(FORBIDDEN)])
def test_a_revision_cannot_end_the_transaction_nor_change_how_it_runs(path: Path, orchard: Orchard, body: str, named: str) -> None:
    upgrade(path)
    # On an empty schema it would be found by the rehearsal: it happens on a populated file only.
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT INTO bacnet_config VALUES (1, '[]', '2025-01-01 00:00:00', '2025-01-01 00:00:00')")
    guarded = 'if op.get_bind().execute(sa.text("SELECT count(*) FROM bacnet_config")).scalar():\n'
    revision = orchard.plant(guarded + "\n".join(f"    {line}" for line in body.splitlines()))
    before = {name: sha for name, (sha, _) in sums(path).items()}

    with pytest.raises(SchemaError, match=f"revision {revision} .* tried {named}"):
        upgrade(path)

    assert {name: sha for name, (sha, _) in sums(path).items() if not name.endswith(".snapshot")} == before


def test_a_revision_may_look_at_the_schema_and_use_savepoints(path: Path, orchard: Orchard) -> None:
    upgrade(path)
    orchard.plant(
        """
        sa.inspect(op.get_bind()).get_columns("bacnet_config")
        with op.get_bind().begin_nested():
            op.execute("UPDATE bacnet_config SET bacnet_devices = NULL")
        """
    )

    upgrade(path)


PARENT = "CREATE TABLE parent (id INTEGER PRIMARY KEY)"
CHILD = """
CREATE TABLE child (
 id INTEGER PRIMARY KEY {autoincrement}, name TEXT {name}, price INTEGER {price}, parent INTEGER {parent},
 twice INTEGER {twice} {check})
"""
PLAIN = {"autoincrement": "", "name": "", "price": "", "parent": "REFERENCES parent (id)", "twice": "", "check": ""}

KINDS: dict[str, tuple[dict[str, str], list[str], str]] = {
    "trigger": ({}, ["CREATE TRIGGER seen AFTER INSERT ON child BEGIN SELECT 1; END"], "seen is gone"),
    "index": ({}, ["CREATE INDEX by_name ON child (name)"], "by_name is gone"),
    "expression index": ({}, ["CREATE INDEX by_lower ON child (lower(name))"], "by_lower is gone"),
    "WHERE of a partial index": ({}, ["CREATE INDEX some ON child (name) WHERE price > 0"], "index some of child was"),
    "DESC": ({}, ["CREATE INDEX down ON child (name DESC)"], "index down of child was"),
    "named CHECK": ({"check": ", CONSTRAINT dear CHECK (price > 0)"}, [], "check dear of child is gone"),
    "unnamed CHECK": ({"check": ", CHECK (price > 0)"}, [], "check .* of child is gone"),
    "COLLATE": ({"name": "COLLATE NOCASE"}, [], "COLLATE of column name of child is gone"),
    "AUTOINCREMENT": ({"autoincrement": "AUTOINCREMENT"}, [], "AUTOINCREMENT of table of child is gone"),
    "FK action": ({"parent": "REFERENCES parent (id) ON DELETE CASCADE"}, [], "foreign key .* was .*CASCADE and is .*NO ACTION"),
    "ON CONFLICT": ({"name": "UNIQUE ON CONFLICT REPLACE"}, [], "ON CONFLICT of column name of child is gone"),
    "generated column": ({"twice": "GENERATED ALWAYS AS (price * 2) STORED"}, [], "GENERATED of column twice of child is gone"),
    "DEFAULT": ({"price": "DEFAULT 5"}, [], "DEFAULT of column price of child is gone"),
}


def rebuild(make: str, columns: str) -> str:
    return f"""
    op.execute({make!r})
    op.execute("INSERT INTO _alembic_tmp_child ({columns}) SELECT {columns} FROM child")
    op.execute("DROP TABLE child")
    op.execute("ALTER TABLE _alembic_tmp_child RENAME TO child")
    """


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_rebuild_forgets_is_named_and_nothing_is_changed(path: Path, orchard: Orchard, kind: str) -> None:
    own, objects, said = KINDS[kind]
    orchard.plant("\n".join(f"op.execute({sql!r})" for sql in (PARENT, CHILD.format_map(PLAIN | own), *objects)))
    upgrade(path)
    before = path.read_bytes()
    body = rebuild(CHILD.format_map(PLAIN).replace("child (", "_alembic_tmp_child ("), "id, name, price, parent")
    remade = [sql.replace(" DESC", "").split(" WHERE")[0] for sql in objects if kind in ("DESC", "WHERE of a partial index")]
    orchard.plant(body + "".join(f"\n    op.execute({sql!r})" for sql in remade))

    with pytest.raises(SchemaError, match=said):
        upgrade(path)

    assert path.read_bytes() == before


def test_a_view_that_a_revision_drops_silently_is_kept_over_the_rebuild(path: Path, orchard: Orchard) -> None:
    view = "CREATE VIEW seen AS SELECT name FROM child"
    orchard.plant("\n".join(f"op.execute({sql!r})" for sql in (PARENT, CHILD.format_map(PLAIN))))
    upgrade(path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(view)
    orchard.plant(rebuild(CHILD.format_map(PLAIN).replace("child (", "_alembic_tmp_child ("), "id, name, price, parent"))

    upgrade(path)

    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT sql FROM sqlite_master WHERE name = 'seen'").fetchone() == (view,)


def test_what_is_declared_may_go(path: Path, orchard: Orchard) -> None:
    orchard.plant(f"op.execute({PARENT!r})\nop.execute({CHILD.format_map(PLAIN | {'price': 'DEFAULT 5'})!r})")
    upgrade(path)
    body = rebuild(CHILD.format_map(PLAIN).replace("child (", "_alembic_tmp_child ("), "id, name, price, parent")
    orchard.plant(body, declarations='object_loss = ("child.price",)')

    upgrade(path)


def test_a_row_that_vanishes_undeclared_undoes_the_upgrade(path: Path, orchard: Orchard) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    orchard.plant('op.execute("DELETE FROM bacnet_readers WHERE id = (SELECT min(id) FROM bacnet_readers)")')
    before = path.read_bytes()

    with pytest.raises(SchemaError, match="bacnet_readers had 2 rows and has 1"):
        upgrade(path)

    assert path.read_bytes() == before


def test_a_declared_loss_of_rows_is_none(path: Path, orchard: Orchard) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    orchard.plant('op.execute("DELETE FROM bacnet_readers")', declarations='row_loss = ("bacnet_readers",)')

    upgrade(path)


def test_a_schema_that_is_not_the_golden_one_in_the_end_undoes_the_upgrade(path: Path, orchard: Orchard) -> None:
    load_legacy(path, "at_f0a65dd2e313")
    orchard.plant(
        """
        if op.get_bind().execute(sa.text("SELECT count(*) FROM bacnet_readers")).scalar():
            op.execute("ALTER TABLE bacnet_readers ADD COLUMN colour TEXT")
        """
    )
    before = path.read_bytes()

    with pytest.raises(SchemaError, match="column colour of bacnet_readers is not part of the schema") as caught:
        upgrade(path)

    assert caught.value.exit_code == 14
    assert path.read_bytes() == before


def test_a_downgrade_takes_a_snapshot_first(path: Path) -> None:
    upgrade(path)

    commands.downgrade(url(path), "f0a65dd2e313")

    assert [file.name for file in path.parent.iterdir() if manifest_head(file)]


def manifest_head(file: Path) -> bool:
    return file.name.endswith(".snapshot") and "4bc16f80b4c9" in file.name
