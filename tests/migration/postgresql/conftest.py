import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from alembic.config import CommandLine, Config

from tests.migration.conftest import ROOT, Alembic
from tests.migration.postgresql.server import Server, running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("system")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running() as server:
        server.psql("CREATE DATABASE site")
        yield server


@pytest.fixture
def url(server: Server) -> str:
    """An empty database."""
    server.psql("DROP SCHEMA public CASCADE; CREATE SCHEMA public", "site")
    return server.url("site")


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    """Alembic's settings without its logging, which is this process's matter."""
    file = tmp_path / "alembic.ini"
    file.write_text("[alembic]\nscript_location = bms_iot:migrations\npath_separator = os\n")
    return file


@pytest.fixture
def alembic(url: str, ini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Alembic:
    """Plain `alembic` on `url`, by its own command line but in this process, which is quicker."""
    monkeypatch.setenv("BMS_DATABASE_URL", url)
    monkeypatch.setenv("BMS_DATA_DIRECTORY", str(tmp_path))

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        out, err, code = io.StringIO(), io.StringIO(), 0
        line = CommandLine()
        options = line.parser.parse_args(["-c", str(ini), *arguments])
        with redirect_stdout(out), redirect_stderr(err):
            try:
                line.run_cmd(Config(str(ini), stdout=out, output_buffer=out, cmd_opts=options), options)
            except SystemExit as error:
                code = error.code if isinstance(error.code, int) else 1
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def start(url: str, tmp_path: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """Plain `alembic` in a process of its own, on `url` unless `database` says otherwise."""

    def run(*arguments: str, database: str = url) -> "subprocess.Popen[str]":
        environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "BMS_DATABASE_URL": database}
        command = [sys.executable, "-m", "alembic", *arguments]
        return subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return run
