import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from bms_iot import models
from tests.migration.conftest import Alembic, load_legacy, upgrade
from tests.migration.shape import shape

FIELD = ["at_dc3c962443cb", "at_f0a65dd2e313", "moved_and_shared"]


def create_all(path: Path) -> Path:
    engine = sa.create_engine(f"sqlite:///{path}")
    models.metadata().create_all(engine)
    engine.dispose()
    return path


def test_the_models_are_the_schema_at_head(path: Path, tmp_path: Path) -> None:
    upgrade(path)

    assert shape(path) == shape(create_all(tmp_path / "models.db"))


@pytest.mark.parametrize("name", FIELD)
def test_a_field_database_gets_the_schema_of_a_new_one(path: Path, tmp_path: Path, name: str) -> None:
    upgrade(load_legacy(path, name))

    upgrade(tmp_path / "new.db")
    assert shape(path) == shape(tmp_path / "new.db")


@pytest.mark.parametrize("revision", ["dc3c962443cb", "f0a65dd2e313"])
def test_the_revisions_of_the_field_make_what_the_field_has(path: Path, tmp_path: Path, revision: str) -> None:
    upgrade(path, revision)

    assert shape(path) == shape(load_legacy(tmp_path / "field.db", f"at_{revision}"))


def test_the_root_makes_what_the_field_had_before_alembic(path: Path, tmp_path: Path) -> None:
    upgrade(path, "7b0d5e1c94aa")

    assert shape(path) == shape(load_legacy(tmp_path / "field.db", "pre_alembic"))


def test_table_info_counts_18_columns_at_the_root_and_41_from_then_on(path: Path) -> None:
    counts = []
    for revision in ("7b0d5e1c94aa", "dc3c962443cb", "f0a65dd2e313", "head"):
        upgrade(path, revision)
        with closing(sqlite3.connect(path)) as connection:
            counts.append(len(connection.execute("PRAGMA table_info(controller_points)").fetchall()))

    assert counts == [18, 41, 41, 41]


def test_the_generated_column_has_whole_seconds_in_milliseconds(path: Path) -> None:
    upgrade(load_legacy(path, "at_f0a65dd2e313"))

    query = "SELECT created_at_unix_milli_timestamp, strftime('%s', created_at) * 1000 FROM {}"
    with closing(sqlite3.connect(path)) as connection:
        for table in ("controller_points", "iot_device_status"):
            rows = connection.execute(query.format(table)).fetchall()
            assert rows
            assert all(column == expected for column, expected in rows)


def test_alembic_finds_no_difference_to_the_models(path: Path, alembic: Alembic) -> None:
    upgrade(path)

    result = alembic("check")

    assert (result.returncode, result.stdout) == (0, "No new upgrade operations detected.\n")


def test_there_is_one_head_and_the_history_begins_with_one_root(alembic: Alembic) -> None:
    assert alembic("heads").stdout.count("(head)") == 1
    history = alembic("history").stdout.splitlines()
    assert [line for line in history if line.startswith("<base>")] == history[-1:]
    for revision in ("dc3c962443cb", "f0a65dd2e313"):
        assert f"Revision ID: {revision}" in alembic("show", revision).stdout


@pytest.mark.parametrize("steps", range(1, 9))
def test_an_empty_database_can_be_downgraded_and_comes_back_the_same(path: Path, alembic: Alembic, steps: int) -> None:
    upgrade(path)
    before = shape(path)

    assert alembic("downgrade", f"-{steps}").returncode == 0
    assert shape(path) != before
    upgrade(path)

    assert shape(path) == before
