"""A PostgreSQL server of our own: a private data directory, 127.0.0.1, a free port, no durability."""

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "16MB",
    "max_connections": "20",
    "autovacuum": "off",
}
STARTING_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server whose superuser is `bms`; nobody needs a password, except for a role `guarded`."""

    bin: Path
    port: int
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def new(self, template: str = "template1") -> str:
        """The URL of a new database, empty unless another one is its template."""
        name = f"site_{next(self.numbers)}"
        self.psql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def url(self, database: str, user: str = "bms") -> str:
        return f"postgresql+asyncpg://{user}@127.0.0.1:{self.port}/{database}"

    def psql(self, script: str, database: str = "postgres", *options: str) -> subprocess.CompletedProcess[str]:
        """Feed a script to psql, which stops at the first error unless an option says otherwise."""
        arguments = ["-v", "ON_ERROR_STOP=1", *options, "-h", "127.0.0.1", "-p", str(self.port), "-U", "bms", "-d", database]
        command = [str(self.bin / "psql"), "-X", "-q", "-A", "-t", *arguments]
        result = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60, check=False)
        if not options:
            assert result.returncode == 0, result.stderr
        return result

    def dump(self, database: str) -> str:
        """Everything in a database, as the statements that make it again; but for sequences, which a rollback does not reset."""
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "bms"]
        command = [str(self.bin / "pg_dump"), *address, "-d", database]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        lines = result.stdout.splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith(("\\restrict", "\\unrestrict", "SELECT pg_catalog.setval(")))


def binaries() -> Path | None:
    """Where `initdb` and `postgres` are: on the PATH, else the newest that Debian installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    installed = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(installed, key=lambda path: float(path.parent.name), default=None)


@contextmanager
def running() -> Iterator[Server]:
    """Start a server, stop it on leaving. Skips, outside CI, where PostgreSQL is missing."""
    if (bin_ := binaries()) is None:
        if "CI" in os.environ:
            pytest.fail("PostgreSQL is missing: install it (Debian: postgresql)")
        pytest.skip("PostgreSQL is missing: install it (Debian: postgresql)")
    with tempfile.TemporaryDirectory(prefix="bms-postgresql-") as name:
        directory = Path(name)
        who = _unprivileged(directory)
        data = directory / "data"
        command = [str(bin_ / "initdb"), "-D", str(data), "-U", "bms", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, timeout=60, cwd=directory, **who)
        (data / "pg_hba.conf").write_text("host all guarded 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n")
        port = free_port()
        options = [word for key, value in SETTINGS.items() for word in ("-c", f"{key}={value}")]
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(bin_ / "postgres"), "-D", str(data), "-p", str(port), *options], stdout=log, stderr=log, cwd=directory, **who
            )
            try:
                _await(process, bin_, port, directory / "log")
                yield Server(bin=bin_, port=port)
            finally:
                process.send_signal(signal.SIGQUIT)
                process.wait(timeout=30)


def _unprivileged(directory: Path) -> Mapping[str, Any]:
    """PostgreSQL refuses to run as root: give the directory to somebody else, and run as them."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = names.get("postgres") or names["nobody"]
    os.chown(directory, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(type=kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(process: subprocess.Popen[bytes], bin_: Path, port: int, log: Path) -> None:
    deadline = time.monotonic() + STARTING_SECONDS
    ready = [str(bin_ / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "bms", "-d", "postgres"]
    while subprocess.run(ready, check=False, timeout=10).returncode:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
