import json
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from bms_iot.authoring import release
from bms_iot.database import manifest
from bms_iot.errors import RevisionEdited
from tests.migration.checkout import Checkout

SEAL = "python -m bms_iot.authoring release"


@pytest.mark.parametrize("revision", [entry.revision for entry in manifest.load()])
def test_the_golden_schema_is_what_the_revisions_make(revision: str) -> None:
    assert release.golden_file(revision).read_text() == release.golden(ScriptDirectory(str(manifest.MIGRATIONS)), revision), SEAL


def test_there_is_no_golden_schema_of_a_revision_that_is_gone() -> None:
    assert {file.stem for file in release.GOLDEN.iterdir()} == {entry.revision for entry in manifest.load()}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout.copy(tmp_path)


def sealed(checkout: Checkout) -> dict[str, str]:
    entries = json.loads((checkout.versions.parent / "manifest.json").read_text())["revisions"]
    return {entry["revision"]: entry["release"] for entry in entries}


def test_sealing_again_changes_nothing(checkout: Checkout) -> None:
    before = {file: file.read_bytes() for file in checkout.versions.parent.rglob("*.json")}

    checkout.ok(SEAL)

    assert {file: file.read_bytes() for file in checkout.versions.parent.rglob("*.json")} == before


def test_a_new_revision_is_sealed_into_the_coming_release(checkout: Checkout) -> None:
    checkout.replace("boots", "    version: str\n", "    version: str\n    reason: str | None = None\n")
    file, _ = checkout.autogenerate("add reason to boots")
    before = sealed(checkout)

    checkout.ok(SEAL)

    (new,) = sealed(checkout).keys() - before.keys()
    assert new in file.name
    golden = json.loads((checkout.versions.parent / "golden" / f"{new}.json").read_text())
    assert golden["boots"]["column reason"] == "VARCHAR"
    checkout.ok("bms-iot db upgrade")
    assert json.loads(checkout.ok("bms-iot db status --json").stdout)["state"] == "head"


def test_what_an_earlier_release_brought_is_never_sealed_anew(checkout: Checkout) -> None:
    manifest_before = (checkout.versions.parent / "manifest.json").read_bytes()
    (file,) = checkout.versions.glob("*_dc3c962443cb_*.py")
    file.write_text(file.read_text() + "\n")

    result = checkout.shell(SEAL)

    assert result.returncode == RevisionEdited.exit_code
    assert file.name in result.stderr
    assert (checkout.versions.parent / "manifest.json").read_bytes() == manifest_before
