"""What a schema is on PostgreSQL, in the server's own words, and where the models and a database differ."""

from sqlalchemy import Connection, MetaData

from bms_iot.schema import ledger, postgresql
from bms_iot.schema.target import Target

_NOT_OURS = {"alembic_version", ledger.NAME}


def describe(connection: Connection) -> set[str]:
    """Tables of the current schema with their columns, constraints and indexes, a line each."""
    return {f"{table}: {what}" for table, what in connection.exec_driver_sql(_DESCRIBE) if table not in _NOT_OURS}


def drift(target: Target, metadata: MetaData) -> list[str]:
    """Lines that only the models (`+`) or only the database (`-`) has, ordered by table.

    The models are made as temporary tables, so that one server spells both; nothing of it is committed. Raises SchemaError.
    """

    def compare(connection: Connection) -> list[str]:
        with connection.begin() as transaction:
            found = describe(connection)
            connection.exec_driver_sql("SET LOCAL search_path TO pg_temp")
            metadata.create_all(connection, checkfirst=False)
            wanted = describe(connection)
            transaction.rollback()
        return sorted(
            [f"+ {line}" for line in wanted - found] + [f"- {line}" for line in found - wanted], key=lambda line: line[2:]
        )

    return postgresql.connected(target, compare)


_DESCRIBE = """
WITH t AS (
  SELECT oid, relname FROM pg_class
  WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND relkind IN ('r', 'p')
)
SELECT relname, 'table' FROM t
UNION ALL
SELECT relname, concat_ws(
  ' ', 'column', attname, format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'NOT NULL' END,
  'COLLATE ' || (SELECT collname FROM pg_collation c WHERE c.oid = nullif(attcollation, typcollation)),
  'IDENTITY ' || nullif(attidentity::text, ''),
  CASE attgenerated WHEN 's' THEN 'GENERATED' ELSE 'DEFAULT' END || ' ' || pg_get_expr(adbin, adrelid)
)
FROM t JOIN pg_attribute a ON attrelid = t.oid JOIN pg_type y ON y.oid = atttypid
LEFT JOIN pg_attrdef ON adrelid = t.oid AND adnum = attnum
WHERE attnum > 0 AND NOT attisdropped
UNION ALL
SELECT relname, concat_ws(' ', 'constraint', conname, pg_get_constraintdef(c.oid, true))
FROM t JOIN pg_constraint c ON conrelid = t.oid WHERE contype <> 'n'
UNION ALL
SELECT relname, pg_get_indexdef(indexrelid, 0, true) FROM t JOIN pg_index ON indrelid = t.oid WHERE NOT indisprimary
"""
