"""What docs/migrations.md says is done as it is written there: commands, changes of models, revisions."""

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from bms_iot import errors
from bms_iot.authoring.lint import Linter
from bms_iot.authoring.rules import RULES
from bms_iot.database import manifest
from tests.migration.checkout import Checkout
from tests.migration.conftest import ROOT, load_legacy

GUIDE = (ROOT / "docs" / "migrations.md").read_text(encoding="utf-8")
NOT_RUN = "<!-- not run by the tests: needs containers -->"
START = r"<!-- the tests start with (?P<start>\w+) -->"
FENCE = re.compile(
    rf"^(?:(?P<not_run>{NOT_RUN})\n|{START}\n)?(?P<space> *)```(?P<language>\w+)\n(?P<body>.*?)^ *```$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Block:
    section: str
    language: str
    body: str
    is_run: bool
    start: str | None
    """A database of the field; one at head where it is None."""


def blocks() -> Iterator[Block]:
    for section in re.split(r"^(?=##)", GUIDE, flags=re.MULTILINE):
        for found in FENCE.finditer(section):
            title = section.splitlines()[0].lstrip("# ")
            yield Block(title, found["language"], dedent(found["body"]), is_run=found["not_run"] is None, start=found["start"])


BLOCKS = list(blocks())
SECTIONS = list(dict.fromkeys(block.section for block in BLOCKS if block.language == "bash" and block.is_run))


@pytest.fixture(scope="module")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy of the checkout and a field database at its head. Not to be changed."""
    checkout = Checkout.copy(tmp_path_factory.mktemp("populated"))
    load_legacy(checkout.database, "at_f0a65dd2e313")
    checkout.ok("alembic upgrade head")
    return checkout


@pytest.fixture
def checkout(populated: Checkout, tmp_path: Path) -> Checkout:
    copy = Checkout(root=tmp_path / "checkout", database=tmp_path / "bms_bacnet.db")
    shutil.copytree(populated.root, copy.root)
    shutil.copy(populated.database, copy.database)
    return copy


def revision(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def apply(diff: str, root: Path) -> None:
    """A diff as the guide writes it: the file in a comment, then lines that stay, go and come."""
    name, *lines = diff.splitlines()
    file = root / name.removeprefix("# ")
    old = "\n".join(line[1:] for line in lines if line[0] in " -")
    new = "\n".join(line[1:] for line in lines if line[0] in " +")
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize("section", SECTIONS)
def test_what_a_section_says_can_be_done_from_top_to_bottom(checkout: Checkout, section: str) -> None:
    for block in (block for block in BLOCKS if block.section == section and block.is_run):
        if block.start is not None:
            checkout.database.unlink()
            load_legacy(checkout.database, block.start)
        if block.language == "diff":
            apply(block.body, checkout.root)
        elif block.language == "bash":
            checkout.ok(block.body)


def test_only_what_needs_containers_is_not_run() -> None:
    assert {block.language for block in BLOCKS} == {"bash", "diff", "python"}
    assert all(re.match(r"docker ", line) for block in BLOCKS if not block.is_run for line in block.body.splitlines())


REVISION = '''"""Sample."""

import sqlalchemy as sa
from alembic import op

revision: str = "5a3b1e000002"
down_revision: str | None = "{head}"
{body}
'''


@pytest.mark.parametrize("body", [block.body for block in BLOCKS if block.language == "python"])
def test_the_revisions_it_shows_are_without_findings_and_go_up_and_down(checkout: Checkout, body: str) -> None:
    file = checkout.versions / "2099_01_01_5a3b1e000002_sample.py"
    file.write_text(REVISION.format(head=manifest.head(), body=body))
    before = revision(checkout.database)

    assert Linter().files([file]) == []
    checkout.ok("alembic upgrade head")
    assert revision(checkout.database) == "5a3b1e000002"
    checkout.ok("alembic downgrade -1")
    assert revision(checkout.database) == before


# What users have typed for years, with what it must come to.
TYPED = {
    "alembic upgrade head": "",
    "alembic current": f"{manifest.head()} (head)\n",
    "alembic history": "<base> -> 7b0d5e1c94aa",
    "alembic show dc3c962443cb": "Revision ID: dc3c962443cb",
    "alembic check": "No new upgrade operations detected.\n",
    "alembic upgrade head --sql": "CREATE TABLE controller_points",
    "alembic downgrade -1": "",
    "alembic downgrade f0a65dd2e313": "",
    "alembic upgrade 3f6a91d2c05e": "",
    "alembic stamp 3f6a91d2c05e": "",
    'alembic revision -m "manual migration"': "_manual_migration.py",
}


def test_what_users_have_typed_for_years_goes_on_working(checkout: Checkout) -> None:
    for command, said in TYPED.items():
        assert said in checkout.ok(command).stdout, command
    checkout.ok("alembic upgrade head")
    checkout.ok('alembic revision --autogenerate -m "describe your changes"')
    (file,) = checkout.versions.glob("*_describe_your_changes.py")
    assert "op." not in file.read_text().split("def upgrade")[1].split("def downgrade")[0]
    checkout.ok("alembic upgrade head")
    assert f"{revision(checkout.database)} (head)" in checkout.ok("alembic current").stdout
    checkout.ok(f"alembic downgrade {manifest.head()}")


def test_a_manual_revision_goes_up_and_down_as_it_is(checkout: Checkout) -> None:
    checkout.ok('alembic revision -m "manual migration"')

    checkout.ok("alembic upgrade head")
    checkout.ok("alembic downgrade -1")

    assert revision(checkout.database) == manifest.head()


def test_every_exit_code_of_the_schema_is_explained() -> None:
    def codes(kind: type[errors.BmsError]) -> Iterator[int]:
        yield kind.exit_code
        for other in kind.__subclasses__():
            yield from codes(other)

    table = GUIDE.split("<!-- exit codes -->")[1].split("<!-- /exit codes -->")[0]
    explained = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert explained == {0, 2} | set(codes(errors.BmsError))


def test_every_rule_of_the_linter_is_explained() -> None:
    assert set(re.findall(r"^\| `([a-z-]+)` \|", GUIDE, re.MULTILINE)) == RULES.keys()


def test_the_tests_it_names_exist() -> None:
    named = re.findall(r"`(tests/[\w/.]+)`", GUIDE)

    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_figures_have_their_place() -> None:
    for name in ("migrations", "faults"):
        assert GUIDE.count(f"<!-- {name} -->") == GUIDE.count(f"<!-- /{name} -->") == 1
