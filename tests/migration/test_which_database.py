from pathlib import Path

import pytest

from bms_iot.database import gate, target
from bms_iot.errors import ConfigurationError
from tests.migration.conftest import ROOT, Alembic, url


def at_head(path: Path) -> bool:
    return gate.inspect(path).state is gate.State.HEAD


def test_alembic_works_from_another_directory_by_its_option(path: Path, alembic: Alembic, tmp_path: Path) -> None:
    result = alembic("-c", str(ROOT / "alembic.ini"), "upgrade", "head", cwd=tmp_path)

    assert (result.returncode, at_head(path)) == (0, True), result.stderr


def test_alembic_works_from_another_directory_by_its_environment(path: Path, alembic: Alembic, tmp_path: Path) -> None:
    result = alembic("upgrade", "head", cwd=tmp_path, ALEMBIC_CONFIG=str(ROOT / "alembic.ini"))

    assert (result.returncode, at_head(path)) == (0, True), result.stderr


def ini(directory: Path, database: str) -> Path:
    file = directory / "alembic.ini"
    file.write_text((ROOT / "alembic.ini").read_text().replace("[alembic]", f"[alembic]\nsqlalchemy.url = {database}"))
    return file


def test_the_ini_names_the_database_where_the_settings_do_not(path: Path, alembic: Alembic) -> None:
    result = alembic("-c", str(ini(path.parent, url(path))), "upgrade", "head", BMS_DATABASE_URL="")

    assert (result.returncode, at_head(path)) == (0, True), result.stderr


def test_a_relative_path_is_taken_from_the_directory_of_the_ini(path: Path, alembic: Alembic, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    file = ini(tmp_path, f"sqlite+aiosqlite:///{path.name}")

    result = alembic("-c", str(file), "upgrade", "head", cwd=tmp_path / "elsewhere", BMS_DATABASE_URL="")

    assert (result.returncode, at_head(path)) == (0, True), result.stderr


def test_it_stops_where_ini_and_settings_name_different_databases(path: Path, alembic: Alembic, tmp_path: Path) -> None:
    other = tmp_path / "other.db"

    result = alembic("-c", str(ini(tmp_path, url(other))), "upgrade", "head")

    assert result.returncode == ConfigurationError.exit_code
    assert str(other) in result.stderr
    assert str(path) in result.stderr
    assert not path.exists()
    assert not other.exists()


def test_ini_and_settings_may_agree(path: Path, alembic: Alembic, tmp_path: Path) -> None:
    result = alembic("-c", str(ini(tmp_path, f"sqlite:///{path}")), "upgrade", "head")

    assert (result.returncode, at_head(path)) == (0, True), result.stderr


@pytest.mark.parametrize("verb", [["current"], ["check"], ["downgrade", "-1"], ["stamp", "head"]])
def test_only_an_upgrade_makes_a_missing_database(path: Path, alembic: Alembic, verb: list[str]) -> None:
    result = alembic(*verb)

    assert result.returncode == 1
    assert f"no database at {path}" in result.stderr
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("bad", ["nonsense", "sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=ro", "mysql://localhost/x"])
def test_a_url_that_names_no_database_of_ours_is_refused(bad: str) -> None:
    with pytest.raises(ConfigurationError):
        target.resolve(bad, relative_to=Path("/"))


def test_a_new_database_is_readable_by_its_owner_only(path: Path, alembic: Alembic) -> None:
    assert alembic("upgrade", "head").returncode == 0

    assert oct(path.stat().st_mode & 0o777) == oct(0o600)
