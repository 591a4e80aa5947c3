"""What a run would do to a SQLite database, and whether it can: all of it found out before anything is changed."""

import sqlite3
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alembic.runtime.migration import MigrationInfo
from alembic.script import ScriptDirectory

from bms_iot.database import connection, fingerprint, gate, ledger, manifest, snapshot, space
from bms_iot.errors import DatabaseCorrupt, SchemaError, SchemaNewer
from bms_iot.schema import owners, rehearsal, shapes

_COPIED = "SELECT tbl_name, sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql IS NOT NULL ORDER BY type DESC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run that is to come; `octets` by the directory they are needed in at most, beyond the database as it is."""

    path: Path
    stamp: str | None
    finding: shapes.Finding
    revisions: tuple[str, ...]
    destination: str | None
    statements: tuple[str, ...]
    is_additive: bool
    owners: Mapping[str, str]
    """Triggers, views and indexes that are not the machine's: `trigger name` → CREATE."""
    expected: fingerprint.Fingerprint
    """What the destination's tables are; `tables` are those of any revision."""
    tables: frozenset[str]
    overlooked: frozenset[str]
    """Differences that were there before, since databases were born in several ways."""
    octets: Mapping[Path, int]

    @property
    def is_empty(self) -> bool:
        return not self.revisions and self.finding.kind is None

    def drift(self, actual: fingerprint.Fingerprint) -> list[str]:
        """How the machine's part of a schema is not what it is to be in the end."""
        ours = fingerprint.without(actual, self.expected, tables=self.tables)
        return [line for line in fingerprint.differences(ours, self.expected) if line not in self.overlooked]


def examine(raw: sqlite3.Connection, path: Path, script: ScriptDirectory, work: rehearsal.Work, *, is_forced: bool = False) -> Plan:
    """What `work` would do to the database.

    Raises UnknownShape, SchemaDrift, DatabaseCorrupt, and SchemaError for a revision that fails.
    """

    def rows(table: str) -> int:
        return int(raw.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0])

    found, known = fingerprint.take(raw), rehearsal.shapes(script)
    names = frozenset(name for shape in known for name in shape.fingerprint)
    stamp = stamped(raw)
    managed = "SELECT 1 FROM sqlite_master WHERE name IN ('alembic_version', 'schema_ledger')"
    is_managed = raw.execute(managed).fetchone() is not None
    finding = shapes.recognise(found, stamp, known, rows, is_managed=is_managed, is_forced=is_forced)
    steps, ran = _rehearsed(raw, script, work, finding, names)
    if (steps or finding.kind) and (wrong := raw.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise DatabaseCorrupt(f"{path} is not sound: {wrong}", hint=snapshot.hint(path))
    modules = [script.get_revision(str(step.up_revision_id)).module for step in steps]
    declared = any(getattr(module, "rewrites", False) or getattr(module, "row_loss", ()) for module in modules)
    is_additive = not declared and rehearsal.is_additive(ran)
    is_indexing = any("INDEX" in statement.upper() for statement in ran)
    destination = (steps[-1].destination_revision_ids or (None,))[0] if steps else finding.revision
    start, expected = (_expected(script, known, revision) for revision in (finding.revision, destination))
    before = fingerprint.differences(fingerprint.without(found, start), start) if not finding.mends else []
    size = raw.execute("PRAGMA page_count").fetchone()[0] * raw.execute("PRAGMA page_size").fetchone()[0]
    octets = space.needed(path.parent, size, is_indexing=is_indexing, is_rebuilding=not is_additive)
    return Plan(
        path=path,
        stamp=stamp,
        finding=finding,
        revisions=tuple(str(step.up_revision_id) for step in steps),
        destination=destination,
        statements=tuple(statement.strip() for statement in ran if not rehearsal.LOOKS.match(statement)),
        is_additive=is_additive,
        owners=owners.find(raw, {thing for shape in known for things in shape.fingerprint.values() for thing in things}),
        expected=expected,
        tables=names,
        overlooked=frozenset(before),
        octets=octets if steps or finding.kind else {},
    )


def is_of_newer(found: gate.GateResult, script: ScriptDirectory, verb: str) -> bool:
    """Whether a newer release left what this one may use, so nothing is to be done. Raises SchemaNewer where it cannot go on."""
    if any(revision.revision == found.revision for revision in script.walk_revisions()):
        return False  # not released yet
    at = f"{found.database} is at {found.revision}"
    if found.state is gate.State.NEWER_COMPATIBLE and verb == "upgrade":
        sys.stderr.write(f"{at}, of a newer release, which this one may use; nothing was changed\n")
        return True
    if found.state in (gate.State.NEWER, gate.State.NEWER_COMPATIBLE):
        raise SchemaNewer(f"{at}, which this release does not know: a newer one wrote it")
    return False


def stamped(raw: sqlite3.Connection) -> str | None:
    """The revision in `alembic_version`. Raises SchemaError for more than one."""
    if not raw.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
        return None
    stamps = [str(row[0]) for row in raw.execute("SELECT version_num FROM alembic_version")]
    if len(stamps) > 1:
        stamped_with = f"{len(stamps)} revisions: {', '.join(stamps)}"
        raise SchemaError(f"the database is stamped with {stamped_with}", hint="alembic stamp --purge")
    return stamps[0] if stamps else None


def _rehearsed(
    raw: sqlite3.Connection, script: ScriptDirectory, work: rehearsal.Work, finding: shapes.Finding, ours: frozenset[str]
) -> tuple[list[MigrationInfo], list[str]]:
    """The steps of `work` on a copy of the schema, and the statements that ran, mends included."""
    steps: list[MigrationInfo] = []
    ran: list[str] = []
    with connection.in_memory(ran.append) as memory, memory.begin():
        for table, sql in raw.execute(_COPIED).fetchall():
            if table in ours or table == ledger.NAME or table.startswith("_alembic_tmp_"):
                memory.exec_driver_sql(sql)
        ran.clear()
        for statement in finding.mends:
            memory.exec_driver_sql(statement)
        rehearsal.stamp(memory, script, finding.revision)
        rehearsal.build(memory, script, work, steps.append)
        return steps, list(ran)


def _expected(script: ScriptDirectory, known: tuple[rehearsal.Shape, ...], revision: str | None) -> fingerprint.Fingerprint:
    """The golden schema of a revision; what the revisions make, for one not released yet."""
    made = next((shape.fingerprint for shape in known if shape.revision == revision), {})
    return manifest.golden(Path(script.dir), revision) or made
