import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bms_iot import models
from bms_iot.database import fingerprint, manifest
from tests.migration.conftest import load_legacy, upgrade


def of(path: Path) -> fingerprint.Fingerprint:
    with closing(sqlite3.connect(path)) as database:
        return fingerprint.take(database)


def of_models(change: Callable[[sa.MetaData], object] = lambda _: None) -> fingerprint.Fingerprint:
    """The fingerprint of the models, changed as said."""
    convention: dict[str, Any] = {kind: name for kind, name in models.metadata().naming_convention.items() if kind != "ck"}
    copy = sa.MetaData(naming_convention=convention)
    for table in models.metadata().tables.values():
        table.to_metadata(copy)
    change(copy)
    engine = sa.create_engine("sqlite://")
    try:
        with engine.connect() as connection:
            copy.create_all(connection)
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            return fingerprint.take(driver)
    finally:
        engine.dispose()


def test_models_and_revisions_and_golden_file_and_device_are_one(path: Path, tmp_path: Path) -> None:
    upgrade(path)
    device = load_legacy(tmp_path / "device.db", "create_all")
    upgrade(device)
    golden = manifest.golden(manifest.MIGRATIONS, manifest.head())

    assert golden
    for found in (of_models(), of(path), of(device)):
        assert fingerprint.differences(found, golden) == []


def column(metadata: sa.MetaData, name: str) -> sa.Column[Any]:
    table, _, column_ = name.partition(".")
    return metadata.tables[table].c[column_]


def nothing(_metadata: sa.MetaData) -> None:
    pass


def expression_index(metadata: sa.MetaData) -> None:
    sa.Index("ix_lower", sa.func.lower(column(metadata, "bacnet_readers.ip_address")))


def index_where(text: str) -> Callable[[sa.MetaData], None]:
    def plant(metadata: sa.MetaData) -> None:
        sa.Index("ix_some", column(metadata, "bacnet_readers.port"), sqlite_where=sa.text(text))

    return plant


def check(text: str, name: str | None) -> Callable[[sa.MetaData], None]:
    def plant(metadata: sa.MetaData) -> None:
        metadata.tables["bacnet_readers"].append_constraint(sa.CheckConstraint(text, name=name))

    return plant


def enum(*members: str) -> Callable[[sa.MetaData], None]:
    def plant(metadata: sa.MetaData) -> None:
        type_ = sa.Enum(*members, native_enum=False, create_constraint=True, name="status", length=20)
        column(metadata, "bacnet_readers.connection_status").type = type_
        metadata.tables["bacnet_readers"].append_constraint(
            sa.CheckConstraint(f"connection_status IN ({', '.join(map(repr, members))})", name="status")
        )

    return plant


def server_default(metadata: sa.MetaData) -> None:
    column(metadata, "bacnet_readers.port").server_default = sa.DefaultClause("47808")


def computed(metadata: sa.MetaData) -> None:
    generated = column(metadata, "iot_device_status.created_at_unix_milli_timestamp").computed
    assert generated is not None
    generated.sqltext = sa.text("(created_at * 1000)")


DRIFTS = {
    "expression index": (nothing, expression_index),
    "WHERE of a partial index": (index_where("port > 1"), index_where("port > 2")),
    "text of a CHECK": (check("port > 1", "port"), check("port > 2", "port")),
    "named CHECK": (nothing, check("port > 0", "port")),
    "unnamed CHECK": (nothing, check("port > 0", None)),
    "member of an enum": (enum("a"), enum("a", "b")),
    "server default": (nothing, server_default),
    "computed expression": (nothing, computed),
}


@pytest.mark.parametrize("kind", DRIFTS)
def test_each_of_eight_planted_drifts_is_found(kind: str) -> None:
    before, planted = DRIFTS[kind]

    assert fingerprint.differences(of_models(before), of_models(before)) == []
    assert len(fingerprint.differences(of_models(planted), of_models(before))) in (1, 2)


def described(*statements: str) -> fingerprint.Fingerprint:
    with closing(sqlite3.connect(":memory:")) as database:
        for statement in statements:
            database.execute(statement)
        return fingerprint.take(database)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CREATE TABLE t (a INT, CHECK (a > 1))", "CREATE TABLE t (a INT, CHECK (a > 2))"),
        ("CREATE TABLE t (a INT, CONSTRAINT c CHECK (a IN ('x')))", "CREATE TABLE t (a INT, CONSTRAINT c CHECK (a IN ('x', 'y')))"),
        ("CREATE TABLE t (a TEXT DEFAULT 'A')", "CREATE TABLE t (a TEXT DEFAULT 'a')"),
        ("CREATE TABLE t (a INT, b INT AS (a + 1))", "CREATE TABLE t (a INT, b INT AS (a + 2))"),
        ("CREATE TABLE t (a INT, b INT AS (a + 1))", "CREATE TABLE t (a INT, b INT AS (a + 1) STORED)"),
        ("CREATE TABLE t (a INT)", "CREATE TABLE t (a INT) STRICT"),
        ("CREATE TABLE t (a INT PRIMARY KEY)", "CREATE TABLE t (a INT PRIMARY KEY) WITHOUT ROWID"),
        ("CREATE TABLE t (a INTEGER PRIMARY KEY)", "CREATE TABLE t (a INTEGER PRIMARY KEY AUTOINCREMENT)"),
        ("CREATE TABLE t (a INT, UNIQUE (a))", "CREATE TABLE t (a INT, UNIQUE (a) ON CONFLICT IGNORE)"),
        ("CREATE TABLE t (a INT, b INT, PRIMARY KEY (a, b))", "CREATE TABLE t (a INT, b INT, PRIMARY KEY (b, a))"),
        ("CREATE TABLE t (a INT REFERENCES t (a))", "CREATE TABLE t (a INT REFERENCES t (a) ON UPDATE CASCADE)"),
        ("CREATE TABLE t (a TEXT)", "CREATE TABLE t (a TEXT COLLATE NOCASE)"),
        ("CREATE TABLE t (a INT)", "CREATE TABLE t (a INT NOT NULL)"),
    ],
)
def test_a_difference_of_any_kind_is_a_difference(one: str, other: str) -> None:
    assert fingerprint.differences(described(one), described(other)) != []


@pytest.mark.parametrize("rest", ["(a)", "(a DESC)", "(a COLLATE NOCASE)", "(a) WHERE a > 1", "(a) WHERE a > 2", "(lower(a))"])
def test_indexes_differ_by_all_they_say(rest: str) -> None:
    table = "CREATE TABLE t (a TEXT, b TEXT)"

    assert described(table, f"CREATE INDEX i ON t {rest}") != described(table, "CREATE INDEX i ON t (b)")
    assert described(table, f"CREATE UNIQUE INDEX i ON t {rest}") != described(table, f"CREATE INDEX i ON t {rest}")


def test_order_and_looks_are_no_difference() -> None:
    one = described(
        "CREATE TABLE t (a INT, b TEXT NOT NULL, CONSTRAINT x PRIMARY KEY (a), CHECK (a>1))", "CREATE INDEX i ON t (a ASC)"
    )
    other = described(
        'CREATE  TABLE "t" (  "b" text not null /* b */, a int, check( a > 1 ), primary key ("a")) -- t',
        "create index i on [t] (`a`)",
    )

    assert fingerprint.differences(one, other) == []


def test_a_column_added_later_is_no_difference() -> None:
    late = described("CREATE TABLE t (a INT, PRIMARY KEY (a))", "ALTER TABLE t ADD COLUMN b VARCHAR(7)")

    assert late == described("CREATE TABLE t (b VARCHAR(7), a INT, PRIMARY KEY (a))")


def test_differences_are_sentences() -> None:
    actual = described("CREATE TABLE t (a INT)", "CREATE TABLE extra (a INT)")
    expected = described("CREATE TABLE t (a TEXT, b INT)", "CREATE TABLE u (a INT)")

    assert fingerprint.differences(actual, expected) == [
        "extra is not part of the schema",
        "column a of t is INT, not TEXT",
        "column b of t is missing",
        "u is missing",
    ]
