from pathlib import Path

import pytest

from bms_iot.schema import commands
from tests.migration.conftest import load_legacy, upgrade
from tests.migration.postgresql.contents import contents, fill

FIELD = {"at_dc3c962443cb": "dc3c962443cb", "at_f0a65dd2e313": "f0a65dd2e313", "moved_and_shared": "f0a65dd2e313"}


@pytest.mark.parametrize("name", FIELD)
def test_the_rows_of_the_field_become_what_they_become_on_sqlite(path: Path, url: str, name: str) -> None:
    load_legacy(path, name)
    commands.upgrade(url, FIELD[name])
    fill(url, path)

    commands.upgrade(url)
    upgrade(path)

    assert contents(url) == contents(path)
    assert contents(url)["outbox"]


def test_a_downgrade_puts_back_the_same_rows_as_on_sqlite(path: Path, url: str) -> None:
    upgrade(load_legacy(path, "moved_and_shared"))
    commands.upgrade(url, "f0a65dd2e313")
    fill(url, load_legacy(path.with_name("again.db"), "moved_and_shared"))
    commands.upgrade(url)

    for database in (f"sqlite:///{path}", url):
        commands.downgrade(database, "8c25e7b0f9d1")

    assert contents(url) == contents(path)
    assert not all(row["is_uploaded"] for row in contents(url)["controller_points"])
