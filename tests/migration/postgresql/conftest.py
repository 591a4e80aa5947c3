import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.migration.conftest import ROOT, Alembic
from tests.migration.postgresql.server import Server, running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("system")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture
def url(server: Server) -> str:
    """A new, empty database."""
    return server.new()


@pytest.fixture
def alembic(url: str, tmp_path: Path) -> Alembic:
    """Plain `alembic` in a process of its own, on `url` unless `environ` says otherwise."""

    def run(*arguments: str, cwd: Path = ROOT, **environ: str) -> "subprocess.CompletedProcess[str]":
        variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "BMS_DATABASE_URL": url} | environ
        command = [sys.executable, "-m", "alembic", *arguments]
        return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=60, check=False)

    return run
