"""What a schema is on PostgreSQL, in the server's own words, and where the models and a database differ."""

from sqlalchemy import Connection, MetaData

from bms_iot.database import fingerprint, postgresql
from bms_iot.database.fingerprint import Fingerprint
from bms_iot.database.target import Target
from bms_iot.errors import SchemaDrift


def take(connection: Connection) -> Fingerprint:
    """The fingerprint of the current schema: columns, constraints and indexes of its tables."""
    found: Fingerprint = {}
    for table, thing, text in connection.exec_driver_sql(_THINGS):
        if table not in fingerprint.MACHINERY:
            found.setdefault(table, {})[thing] = text
    return found


def compare(target: Target, metadata: MetaData) -> tuple[Fingerprint, Fingerprint]:
    """The fingerprints of the database and of the models. Raises SchemaError.

    The models are made as temporary tables, so that one server spells both; nothing of it is committed.
    """

    def both(connection: Connection) -> tuple[Fingerprint, Fingerprint]:
        with connection.begin() as transaction:
            found = take(connection)
            connection.exec_driver_sql("SET LOCAL search_path TO pg_temp")
            metadata.create_all(connection, checkfirst=False)
            wanted = take(connection)
            transaction.rollback()
        return found, wanted

    return postgresql.connected(target, both)


def check(target: Target, metadata: MetaData) -> None:
    """Raises SchemaDrift where the database is not what the models say; tables, indexes and triggers of others are no matter."""
    found, wanted = compare(target, metadata)
    if drift := fingerprint.differences(fingerprint.without(found, wanted), wanted):
        raise SchemaDrift(f"{target} is not what the models say: {'; '.join(drift)}")


_THINGS = """
WITH t AS (
  SELECT oid, relname FROM pg_class
  WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND relkind IN ('r', 'p')
)
SELECT relname, 'column ' || attname, concat_ws(
  ' ', format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'NOT NULL' END,
  'COLLATE ' || (SELECT collname FROM pg_collation c WHERE c.oid = nullif(attcollation, typcollation)),
  'IDENTITY ' || nullif(attidentity::text, ''),
  CASE attgenerated WHEN 's' THEN 'GENERATED' ELSE 'DEFAULT' END || ' ' || pg_get_expr(adbin, adrelid)
)
FROM t JOIN pg_attribute a ON attrelid = t.oid JOIN pg_type y ON y.oid = atttypid
LEFT JOIN pg_attrdef ON adrelid = t.oid AND adnum = attnum
WHERE attnum > 0 AND NOT attisdropped
UNION ALL
SELECT relname, 'constraint ' || conname, pg_get_constraintdef(c.oid, true)
FROM t JOIN pg_constraint c ON conrelid = t.oid WHERE contype <> 'n'
UNION ALL
SELECT relname, 'index ' || indexrelid::regclass, pg_get_indexdef(indexrelid, 0, true)
FROM t JOIN pg_index i ON indrelid = t.oid WHERE NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = i.indexrelid)
"""
