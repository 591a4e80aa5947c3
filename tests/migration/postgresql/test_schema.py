from collections.abc import Callable

import pytest
import sqlalchemy as sa

from bms_iot import models
from bms_iot.authoring import postgresql
from bms_iot.database import fingerprint
from bms_iot.database import postgresql as server_side
from bms_iot.errors import SchemaDrift
from bms_iot.schema import commands
from tests.migration.conftest import Alembic
from tests.migration.postgresql.contents import resolved

REVISIONS = 8


def schema(url: str) -> fingerprint.Fingerprint:
    return server_side.read(resolved(url), postgresql.take)


def test_the_models_are_the_schema_at_head(url: str, alembic: Alembic) -> None:
    commands.upgrade(url)

    found, wanted = postgresql.compare(resolved(url), models.metadata())
    assert found == wanted
    assert set(found) == set(models.metadata().tables)
    assert alembic("check").stdout == "No new upgrade operations detected.\n"


def test_every_enum_is_text_without_a_check(url: str) -> None:
    commands.upgrade(url)

    status = schema(url)["iot_device_status"]
    assert status["column monitoring_status"] == "character varying(12)"
    assert not [text for text in status.values() if "CHECK" in text]


def test_every_step_down_comes_back_the_same(url: str, alembic: Alembic) -> None:
    commands.upgrade(url)
    seen = [schema(url)]
    for _ in range(REVISIONS):
        commands.downgrade(url, "-1")
        seen.append(schema(url))
    assert seen[-1] == {}

    for before in reversed(seen[:-1]):
        commands.upgrade(url, "+1")
        assert schema(url) == before


def planted(**changed: str) -> sa.MetaData:
    """One table that has everything; `changed` says what of it is otherwise."""
    has = {
        "expression": "lower(name)",
        "where": "level > 0",
        "named": "level < 100",
        "unnamed": "level > -100",
        "default": "7",
        "computed": "level * 2",
        "type": "20",
        "delete": "CASCADE",
    } | changed
    metadata = sa.MetaData()
    sa.Table("site", metadata, sa.Column("id", sa.Integer, primary_key=True))
    sa.Table(
        "planted",
        metadata,
        sa.Column("id", sa.Integer, sa.ForeignKey("site.id", ondelete=has["delete"]), primary_key=True),
        sa.Column("name", sa.String(int(has["type"])), nullable=has.get("nullable") is not None),
        sa.Column("level", sa.Integer, server_default=sa.text(has["default"])),
        sa.Column("twice", sa.Integer, sa.Computed(has["computed"], persisted=True)),
        sa.CheckConstraint(has["named"], name="named"),
        sa.CheckConstraint(has["unnamed"]),
        sa.Index("by_expression", sa.text(has["expression"])),
        sa.Index("partial", "level", postgresql_where=sa.text(has["where"])),
    )
    return metadata


CHANGES = {
    "expression": "upper(name)",
    "where": "level > 1",
    "named": "level < 101",
    "unnamed": "level > -101",
    "default": "8",
    "computed": "level * 3",
    "type": "21",
    "nullable": "yes",
    "delete": "RESTRICT",
}


@pytest.fixture
def check(url: str) -> Callable[[sa.MetaData], None]:
    server_side.write(resolved(url), planted().create_all)
    return lambda metadata: postgresql.check(resolved(url), metadata)


@pytest.mark.parametrize("what", CHANGES)
def test_a_planted_difference_is_found(check: Callable[[sa.MetaData], None], what: str) -> None:
    check(planted())

    with pytest.raises(SchemaDrift, match="planted"):
        check(planted(**{what: CHANGES[what]}))


def test_alembic_check_finds_a_changed_check_constraint_and_a_changed_where(url: str, alembic: Alembic) -> None:
    commands.upgrade(url)

    def plant(connection: sa.Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE boots ADD CONSTRAINT ck_boots_boot CHECK (boot > 0)")
        connection.exec_driver_sql("DROP INDEX ix_bacnet_readers_iot_device_id")
        index = "ix_bacnet_readers_iot_device_id ON bacnet_readers (iot_device_id) WHERE is_active"
        connection.exec_driver_sql(f"CREATE INDEX {index}")

    server_side.write(resolved(url), plant)

    result = alembic("check")
    assert result.returncode == SchemaDrift.exit_code
    assert "ck_boots_boot" in result.stderr
    assert "ix_bacnet_readers_iot_device_id" in result.stderr
