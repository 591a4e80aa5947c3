import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bms_iot.database import manifest
from bms_iot.schema import commands
from tests.migration.planting import Orchard

LEGACY = Path(__file__).parent / "legacy"
ROOT = Path(__file__).parents[2]

Alembic = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bms_bacnet.db"


def load_legacy(path: Path, name: str) -> Path:
    """One of the field's databases, as a file."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((LEGACY / f"{name}.sql").read_text(encoding="utf-8"))
    return path


def url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


def upgrade(path: Path, revision: str = "head") -> None:
    commands.upgrade(url(path), revision)


@pytest.fixture
def alembic(path: Path) -> Alembic:
    """Plain `alembic` in a process of its own, on `path` unless `environ` says otherwise."""

    def run(*arguments: str, cwd: Path = ROOT, **environ: str) -> "subprocess.CompletedProcess[str]":
        variables = {"PATH": os.environ["PATH"], "HOME": str(path.parent), "BMS_DATABASE_URL": url(path)} | environ
        variables = {name: value for name, value in variables.items() if value}
        command = [sys.executable, "-m", "alembic", *arguments]
        return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.fixture
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """A plain connection to `path`, opened when the test asks for it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


@pytest.fixture
def orchard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Orchard:
    """Where a test plants revisions on top of the real ones."""
    copy = tmp_path / "planted" / "migrations"
    shutil.copytree(manifest.MIGRATIONS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(manifest, "MIGRATIONS", copy)
    return Orchard(copy)
