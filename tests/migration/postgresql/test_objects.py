"""What of a database must not vanish without a word."""

import pytest
import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext

from bms_iot.database import postgresql
from bms_iot.errors import SchemaError
from bms_iot.schema import verify
from tests.migration.postgresql.contents import resolved

SCHEMA = """
CREATE TABLE site (id integer PRIMARY KEY, name text UNIQUE, level integer);
CREATE INDEX by_level ON site (level);
CREATE VIEW named AS SELECT id, name FROM site;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER kept BEFORE UPDATE ON site FOR EACH ROW EXECUTE FUNCTION nothing();
INSERT INTO site VALUES (1, 'a', 1), (2, 'b', 2)
"""


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        ("ALTER TABLE site DROP COLUMN level", "by_level is gone"),
        ("ALTER TABLE site DROP COLUMN name CASCADE", "named is gone"),
        ("DROP FUNCTION nothing() CASCADE", "kept is gone"),
        ("DELETE FROM site WHERE id = 2", "site had 2 rows and has 1"),
    ],
)
def test_what_a_statement_takes_along_unsaid_stops_the_run(url: str, loss: str, says: str) -> None:
    def lose(connection: sa.Connection) -> None:
        before = verify.take_census(connection)
        Operations(MigrationContext.configure(connection)).execute(loss)
        verify.check(connection, before, verify.Declared(), None)

    postgresql.write(resolved(url), lambda connection: [connection.exec_driver_sql(part) for part in SCHEMA.split(";\n")])
    before = postgresql.read(resolved(url), verify.take_census)

    with pytest.raises(SchemaError, match=says):
        postgresql.write(resolved(url), lose)

    assert postgresql.read(resolved(url), verify.take_census) == before
    assert {table: len(things) for table, things in before.objects.items()} == {"site": 2, "named": 1}
