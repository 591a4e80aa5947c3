import ast
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from typer.testing import CliRunner

from bms_iot.authoring.lint import Finding, Linter
from bms_iot.authoring.rules import RULES
from bms_iot.cli.root import app
from bms_iot.database import manifest
from bms_iot.errors import SchemaError
from tests.migration.conftest import ROOT

Lint = Callable[[str], list[Finding]]

BEFORE = '''"""What the samples start from."""
from alembic import op

revision = "5a3b1e000001"
down_revision = "{head}"


def upgrade():
    for statement in (
        "CREATE TABLE plain (id INTEGER NOT NULL, name VARCHAR, size INTEGER, kind VARCHAR(7), PRIMARY KEY (id))",
        "CREATE TABLE triggered (id INTEGER NOT NULL, name VARCHAR, PRIMARY KEY (id))",
        "CREATE TRIGGER ring AFTER INSERT ON triggered BEGIN SELECT 1; END",
        "CREATE TABLE viewed (id INTEGER NOT NULL, name VARCHAR, PRIMARY KEY (id))",
        "CREATE VIEW glance AS SELECT name FROM viewed",
        "CREATE TABLE lowered (id INTEGER NOT NULL, name VARCHAR, PRIMARY KEY (id))",
        "CREATE INDEX ix_lowered_name ON lowered (lower(name))",
        "CREATE TABLE caseless (id INTEGER NOT NULL, name VARCHAR, PRIMARY KEY (id))",
        "CREATE INDEX ix_caseless_name ON caseless (name COLLATE NOCASE)",
        "CREATE TABLE descending (id INTEGER NOT NULL, name VARCHAR, PRIMARY KEY (id))",
        "CREATE INDEX ix_descending_name ON descending (name DESC)",
        "CREATE TABLE counting (id INTEGER PRIMARY KEY AUTOINCREMENT, name VARCHAR)",
        "CREATE TABLE conflicting (id INTEGER NOT NULL, name VARCHAR UNIQUE ON CONFLICT REPLACE, PRIMARY KEY (id))",
        "CREATE TABLE checked (id INTEGER NOT NULL, name VARCHAR, CHECK (name <> ''), PRIMARY KEY (id))",
        "CREATE TABLE named_check (id INTEGER NOT NULL, name VARCHAR, CONSTRAINT ck_name CHECK (name <> ''), PRIMARY KEY (id))",
    ):
        op.execute(statement)


def downgrade():
    op.get_context().opts["run"].refuse_loss("samples")
'''

SAMPLE = '''"""A sample."""
import sqlalchemy as sa
from alembic import op
{imports}
revision = "5a3b1e000002"
down_revision = "5a3b1e000001"
compat_floor = {floor}


def upgrade():
{upgrade}


def downgrade():
{downgrade}
'''

REFUSE_ALL = 'op.get_context().opts["run"].refuse_loss("sample")'


def sample(upgrade: str, downgrade: str = REFUSE_ALL, *, imports: str = "", floor: str | None = None) -> str:
    def body(text: str) -> str:
        return "\n".join(f"    {line}" for line in text.splitlines())

    return SAMPLE.format(imports=imports, floor=repr(floor), upgrade=body(upgrade), downgrade=body(downgrade))


OWN_FLOOR = "5a3b1e000002"


@pytest.fixture(scope="module")
def lint(tmp_path_factory: pytest.TempPathFactory) -> Lint:
    """The linter over a chain that ends with tables of every kind; called with the source of the revision after them."""
    migrations = tmp_path_factory.mktemp("chain") / "migrations"
    shutil.copytree(manifest.MIGRATIONS, migrations, ignore=shutil.ignore_patterns("__pycache__"))
    text = BEFORE.format(head=ScriptDirectory(str(migrations)).get_current_head())
    (migrations / "versions" / "2027_01_01_5a3b1e000001_samples.py").write_text(text)
    linter = Linter(ScriptDirectory(str(migrations)))
    return lambda source: list(linter.source(source, Path("sample.py")))


REBUILD = """op.create_table("_alembic_tmp_lowered", sa.Column("id", sa.Integer(), nullable=False), sa.Column("name", sa.String()))
op.execute("INSERT INTO _alembic_tmp_lowered (id, name) SELECT id, name FROM lowered")
op.drop_table("lowered")
op.rename_table("_alembic_tmp_lowered", "lowered")"""

# code: a revision it finds, and one that does the same as it should be done
SAMPLES: dict[str, tuple[str, str]] = {
    "not-null": (
        sample('op.add_column("plain", sa.Column("room", sa.String(), nullable=False))'),
        sample('op.add_column("plain", sa.Column("room", sa.String(), nullable=False, server_default="hall"))'),
    ),
    "rename": (
        sample('op.add_column("plain", sa.Column("title", sa.String()))\nop.drop_column("plain", "name")'),
        sample('op.add_column("plain", sa.Column("title", sa.String()))\nop.execute("UPDATE plain SET title = name")'),
    ),
    "many-drops": (
        sample('for name in ("name", "size"):\n    op.drop_column("plain", name)', floor=OWN_FLOOR),
        sample(
            'with op.batch_alter_table("plain") as batch:\n    batch.drop_column("name")\n    batch.drop_column("size")',
            floor=OWN_FLOOR,
        ),
    ),
    "batch": (
        sample('with op.batch_alter_table("triggered") as batch:\n    batch.alter_column("name", type_=sa.Text())'),
        sample('with op.batch_alter_table("triggered") as batch:\n    batch.add_column(sa.Column("room", sa.String()))'),
    ),
    "lossy-cast": (
        sample('with op.batch_alter_table("plain") as batch:\n    batch.alter_column("name", type_=sa.Integer())'),
        sample('with op.batch_alter_table("plain") as batch:\n    batch.alter_column("kind", type_=sa.String(length=12))'),
    ),
    "transaction": (
        sample('op.execute("PRAGMA foreign_keys=OFF")'),
        sample('op.execute("UPDATE plain SET size = 0")'),
    ),
    "import": (
        sample('op.execute("UPDATE plain SET size = 0")', imports="from bms_iot.domain.points import ObjectType"),
        sample('op.execute("UPDATE plain SET size = 0")', imports="import json\nfrom sqlalchemy.dialects import postgresql"),
    ),
    "enum-check": (
        sample('op.add_column("plain", sa.Column("mode", sa.Enum("A", "B", native_enum=False, create_constraint=True)))'),
        sample('op.add_column("plain", sa.Column("mode", sa.String(length=12)))'),
    ),
    "unnamed": (
        sample('with op.batch_alter_table("plain") as batch:\n    batch.drop_constraint(None, type_="unique")'),
        sample('with op.batch_alter_table("plain") as batch:\n    batch.drop_constraint(op.f("uq_plain_name"), type_="unique")'),
    ),
    "boolean-default": (
        sample('op.add_column("plain", sa.Column("on", sa.Boolean(), nullable=False, server_default="0"))'),
        sample('op.add_column("plain", sa.Column("on", sa.Boolean(), nullable=False, server_default=sa.false()))'),
    ),
    "contract": (
        sample('op.drop_column("plain", "name")'),
        sample('op.drop_column("plain", "name")', floor=OWN_FLOOR),
    ),
    "expression-index": (
        sample(REBUILD),
        sample(f'{REBUILD}\nop.create_index("ix_lowered_name", "lowered", [sa.text("lower(name)")])'),
    ),
    "downgrade": (
        sample('op.add_column("plain", sa.Column("room", sa.String()))', "pass"),
        sample('op.add_column("plain", sa.Column("room", sa.String()))', f'{REFUSE_ALL}\nop.drop_column("plain", "room")'),
    ),
    "silent-loss": (
        sample('op.add_column("plain", sa.Column("room", sa.String()))', 'op.drop_column("plain", "room")'),
        sample(
            'op.add_column("plain", sa.Column("room", sa.String()))',
            'op.get_context().opts["run"].refuse_rows("plain", "room IS NOT NULL")\nop.drop_column("plain", "room")',
        ),
    ),
}


def test_every_rule_has_its_samples() -> None:
    assert SAMPLES.keys() == RULES.keys()


@pytest.mark.parametrize("code", SAMPLES)
def test_it_finds_the_bad_sample(lint: Lint, code: str) -> None:
    also = {"contract"} if code == "rename" else set()  # it drops what older releases read

    assert {finding.code for finding in lint(SAMPLES[code][0])} == {code} | also


@pytest.mark.parametrize("code", SAMPLES)
def test_it_has_nothing_against_the_good_sample(lint: Lint, code: str) -> None:
    assert lint(SAMPLES[code][1]) == []


@pytest.mark.parametrize(
    ("table", "hazard"),
    [
        ("triggered", "trigger ring"),
        ("viewed", "view glance"),
        ("lowered", "expression index ix_lowered_name"),
        ("caseless", "index ix_caseless_name with a collation of its own"),
        ("descending", "descending index ix_descending_name"),
        ("counting", "AUTOINCREMENT"),
        ("conflicting", "ON CONFLICT"),
        ("checked", "a CHECK without a name"),
        ("controller_points", "generated column created_at_unix_milli_timestamp"),
    ],
)
def test_batch_mode_is_found_where_a_rebuild_loses_something_and_says_what(lint: Lint, table: str, hazard: str) -> None:
    source = sample(f'with op.batch_alter_table("{table}") as batch:\n    batch.alter_column("units", nullable=True)')

    (finding,) = lint(source)

    assert finding.code == "batch"
    assert hazard in finding.message


@pytest.mark.parametrize("table", ["plain", "named_check", "outbox"])
def test_batch_mode_is_right_on_other_tables(lint: Lint, table: str) -> None:
    assert lint(sample(f'with op.batch_alter_table("{table}") as batch:\n    batch.alter_column("x", nullable=True)')) == []


@pytest.mark.parametrize(
    "statement",
    [
        'op.execute("COMMIT")',
        'op.execute(sa.text("begin immediate"))',
        "op.get_bind().commit()",
        "with op.get_context().autocommit_block():\n    op.execute('UPDATE plain SET size = 0')",
        'op.get_bind().exec_driver_sql("  VACUUM")',
        "op.execute(\"ATTACH 'other.db' AS other\")",
        'op.get_bind().connection.executescript("UPDATE plain SET size = 0")',
    ],
)
def test_nothing_else_may_touch_the_transaction(lint: Lint, statement: str) -> None:
    assert {finding.code for finding in lint(sample(statement))} == {"transaction"}


@pytest.mark.parametrize(
    ("old", "new", "is_found"),
    [
        ("sa.Integer()", "sa.BigInteger()", False),
        ("sa.Integer()", "sa.String()", False),
        ("sa.Integer()", "sa.Float()", False),
        ("sa.Boolean()", "sa.Integer()", False),
        ("sa.Date()", "sa.DateTime()", False),
        ("sa.String(length=7)", "sa.Text()", False),
        ("sa.BigInteger()", "sa.Integer()", True),
        ("sa.BigInteger()", "sa.Float()", True),
        ("sa.String()", "sa.String(length=7)", True),
        ("sa.Float()", "sa.Integer()", True),
        ("sa.DateTime()", "sa.Date()", True),
        ("sa.String()", "sa.JSON()", True),
    ],
)
def test_a_change_of_type_is_found_where_values_may_not_fit(lint: Lint, old: str, new: str, is_found: bool) -> None:
    change = f'with op.batch_alter_table("plain") as batch:\n    batch.alter_column("size", existing_type={old}, type_={new})'

    assert [finding.code for finding in lint(sample(change))] == ["lossy-cast"] * is_found
    refused = f'op.get_context().opts["run"].refuse_rows("plain", "size > 7")\n{change}'
    assert lint(sample(refused)) == []


def test_making_a_column_not_null_wants_it_filled_before(lint: Lint) -> None:
    change = 'with op.batch_alter_table("plain") as batch:\n    batch.alter_column("size", nullable=False)'

    assert [finding.code for finding in lint(sample(change, floor=OWN_FLOOR))] == ["not-null"]
    filled = f'op.execute("UPDATE plain SET size = 0 WHERE size IS NULL")\n{change}'
    assert lint(sample(filled, floor=OWN_FLOOR)) == []


def test_a_table_that_goes_while_one_of_its_columns_comes_looks_like_a_rename(lint: Lint) -> None:
    columns = ", ".join(f'sa.Column("{name}", sa.String())' for name in ("id", "name", "size", "kind"))

    found = lint(sample(f'op.create_table("simple", {columns})\nop.drop_table("plain")', floor=OWN_FLOOR))

    assert {finding.code for finding in found} == {"rename", "contract"}


def test_what_is_dropped_in_the_release_that_adds_its_successor_is_found_across_files(lint: Lint) -> None:
    (finding,) = lint(sample('op.drop_column("outbox", "readings")', floor=OWN_FLOOR))

    assert finding.code == "contract"
    assert "in the release that adds" in finding.message


def test_only_what_runs_on_sqlite_is_held_against_sqlite(lint: Lint) -> None:
    drops = 'op.drop_column("plain", "name")\n    op.drop_column("plain", "size")'

    assert lint(sample(f'if op.get_context().dialect.name != "sqlite":\n    {drops}', floor=OWN_FLOOR)) == []
    assert [f.code for f in lint(sample(f'if op.get_context().dialect.name == "sqlite":\n    {drops}', floor=OWN_FLOOR))] == [
        "many-drops"
    ]


def test_it_follows_the_functions_of_the_file(lint: Lint) -> None:
    source = sample("add(NAME)", imports='NAME = "plain"\n\ndef add(table):\n    op.execute(f"VACUUM {table}")\n')

    (finding,) = lint(source)

    assert finding.code == "transaction"
    assert finding.line == source.splitlines().index('    op.execute(f"VACUUM {table}")') + 1


def test_an_exception_with_its_reason_is_taken(lint: Lint) -> None:
    line = 'op.drop_column("plain", "name")  # lint: allow contract nobody ever read it'

    assert lint(sample(line)) == []


def test_an_exception_may_stand_above_a_long_line(lint: Lint) -> None:
    assert lint(sample('# lint: allow contract nobody ever read it\nop.drop_column("plain", "name")')) == []


@pytest.mark.parametrize(("comment", "said"), [("contract", "has no reason"), ("contrakt a typing error", "names contrakt")])
def test_an_exception_without_reason_or_rule_is_a_finding_itself(lint: Lint, comment: str, said: str) -> None:
    found = {f.code: f for f in lint(sample(f'op.execute("UPDATE plain SET size = 0")  # lint: allow {comment}'))}

    assert set(found) == {"allow"}
    assert said in found["allow"].message


def test_a_finding_says_where_what_and_what_to_do(lint: Lint) -> None:
    source = SAMPLES["not-null"][0]

    (finding,) = lint(source)

    line = next(number for number, text in enumerate(source.splitlines(), 1) if "add_column" in text)
    assert str(finding) == (
        f"sample.py:{line}: not-null: plain.room is NOT NULL without a server default: it passes on an empty table only; "
        "make it nullable, or give it a server_default"
    )


def test_the_revisions_of_this_release_are_without_findings() -> None:
    assert Linter().files() == []


def test_the_command_lints_files_and_ends_with_1_where_it_finds_something(tmp_path: Path) -> None:
    head = manifest.head()
    bad = tmp_path / "bad.py"
    bad.write_text(sample('op.execute("COMMIT")').replace("5a3b1e000001", head))

    plain = CliRunner().invoke(app, ["db", "lint", str(bad)])
    as_json = CliRunner().invoke(app, ["db", "lint", "--json", str(bad)])
    clean = CliRunner().invoke(app, ["db", "lint"])

    assert (plain.exit_code, as_json.exit_code, clean.exit_code) == (1, 1, 0)
    assert plain.stdout.startswith(f"{bad}:")
    assert [entry["code"] for entry in json.loads(as_json.stdout)] == ["transaction"]
    assert clean.stdout == ""


@pytest.mark.parametrize("content", [b"def upgrade(:\n", b"\xff\xfe"])
def test_a_file_that_is_no_python_is_an_error_and_no_finding(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.py").write_bytes(content)

    with pytest.raises(SchemaError):
        Linter().files([tmp_path / "broken.py"])


@pytest.mark.filterwarnings("ignore:Revision 000000000000")  # Alembic says it twice
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('down_revision = "{head}"\n\n\ndef upgrade():\n    nonsense()\n', "does not run on an empty database: NameError"),
        ('down_revision = "{head}"\n\n\ndef upgrade():\n    op.drop_table("nowhere")\n', "no such table: nowhere"),
        ('down_revision = "000000000000"\n', "the revisions are no chain"),
        ("def broken(:\n", "the revisions are no chain: SyntaxError"),
    ],
)
def test_a_chain_that_is_half_written_is_told_in_a_sentence(tmp_path: Path, body: str, said: str) -> None:
    migrations = tmp_path / "migrations"
    shutil.copytree(manifest.MIGRATIONS, migrations, ignore=shutil.ignore_patterns("__pycache__"))
    text = f'from alembic import op\n\nrevision = "5a3b1e000009"\n{body.format(head=manifest.head())}'
    (migrations / "versions" / "2099_01_01_5a3b1e000009_half.py").write_text(text)

    with pytest.raises(SchemaError, match=said):
        Linter(ScriptDirectory(str(migrations))).files()


def test_make_check_lints() -> None:
    assert "\t$(BIN)/bms-iot db lint\n" in (ROOT / "Makefile").read_text()


def test_samples_are_python() -> None:
    for bad, good in SAMPLES.values():
        ast.parse(bad)
        ast.parse(good)
