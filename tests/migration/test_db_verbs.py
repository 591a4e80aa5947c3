import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bms_iot.database import manifest, snapshot
from bms_iot.errors import DatabaseCorrupt, SchemaDrift, UnknownShape
from tests.migration.conftest import load_legacy, upgrade, url

Verb = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def db(path: Path) -> Verb:
    """`bms-iot db` on `path`, in a process of its own."""

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        variables = {"PATH": os.environ["PATH"], "HOME": str(path.parent), "BMS_DATABASE_URL": url(path)}
        command = [sys.executable, "-m", "bms_iot", "db", *arguments]
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)

    return run


def answer(result: "subprocess.CompletedProcess[str]") -> Any:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_a_field_database_goes_through_all_verbs(path: Path, db: Verb) -> None:
    load_legacy(path, "create_all")

    planned = answer(db("plan", "--json", "--sql"))
    assert (planned["adoption"], planned["found_at"]) == ("adopt", "f0a65dd2e313")
    assert planned["pending"] == [entry.revision for entry in manifest.load()][3:]
    assert planned["kind"].startswith("rewriting")
    assert any("CREATE TABLE outbox" in statement for statement in planned["sql"])

    assert answer(db("adopt", "--json"))["revision"] == "f0a65dd2e313"
    assert answer(db("upgrade", "--json"))["state"] == "head"
    status = answer(db("status", "--json"))
    assert (status["pending"], status["drift"], status["last_run"]["kind"]) == ([], [], "upgrade")
    assert status["floor"] == "d94e60a7b318"  # what came after it only adds
    assert status["snapshots"] == [str(file) for file in snapshot.all_of(path)]
    assert answer(db("verify", "--json")) == {"problems": []}
    assert [entry["kind"] for entry in answer(db("history", "--json"))] == ["adopt", "fold", "upgrade"]

    copy = answer(db("backup", "--json"))["snapshot"]
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM controller_points")
    assert answer(db("restore", copy, "--json"))["state"] == "head"
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM controller_points").fetchone()[0] > 0


def test_without_json_they_speak_to_people(path: Path, db: Verb) -> None:
    load_legacy(path, "at_f0a65dd2e313")

    assert "MiB in" in db("plan").stdout
    assert "pending" in db("status").stdout
    assert f"{path} is at {manifest.head()} (head)" in db("upgrade").stderr
    assert "as released" in db("status").stdout
    assert db("verify").stdout == "sound, and as released\n"
    assert manifest.head() in db("history").stdout


def unknown(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE songs (title TEXT)")


def drifted(path: Path) -> None:
    upgrade(path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP INDEX ix_deployment_config_site_id")


def corrupt(path: Path) -> None:
    upgrade(path)
    os.truncate(path, 8192)


@pytest.mark.parametrize(
    ("spoil", "verb", "code"),
    [
        (unknown, "upgrade", UnknownShape.exit_code),
        (unknown, "plan", UnknownShape.exit_code),
        (drifted, "verify", SchemaDrift.exit_code),
        (drifted, "upgrade", SchemaDrift.exit_code),
        (corrupt, "verify", DatabaseCorrupt.exit_code),
        (corrupt, "status", DatabaseCorrupt.exit_code),
        (lambda _: None, "verify", 1),
        (lambda _: None, "backup", 1),
        (lambda _: None, "adopt", 1),
    ],
)
def test_a_refusal_has_its_exit_code_and_words(path: Path, db: Verb, spoil: Callable[[Path], None], verb: str, code: int) -> None:
    spoil(path)
    before = path.read_bytes() if path.exists() else None

    result = db(verb)

    assert result.returncode == code, result.stderr
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    assert (path.read_bytes() if path.exists() else None) == before
