"""What a run would do to a SQLite database, and whether it can: all of it found out before anything is changed."""

import os
import shutil
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from alembic.runtime.migration import MigrationInfo
from alembic.script import ScriptDirectory

from bms_iot.errors import DatabaseCorrupt, NoSpace, SchemaError
from bms_iot.schema import connection, fingerprint, ledger, manifest, rehearsal, shapes, snapshot

MIB = 2**20
_COPIED = "SELECT tbl_name, sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql IS NOT NULL ORDER BY type DESC"
_OVERHEAD = MIB
"""What a run writes whatever it does: a few pages of each table and of the ledger, with their journal."""
_REBUILD = 3
"""A rebuild writes a table anew, its pages to the journal or the WAL, and its indexes: at most this many times the file."""


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


def examine(
    raw: sqlite3.Connection, path: Path, script: ScriptDirectory, work: rehearsal.Work, release: str, *, is_forced: bool = False
) -> Plan:
    """What `work` would do to the database.

    Raises UnknownShape, SchemaDrift, DatabaseCorrupt, and SchemaError for a revision that fails.
    """
    found, known = fingerprint.take(raw), rehearsal.shapes(script, release)
    names = frozenset(name for shape in known for name in shape.fingerprint)
    stamp = stamped(raw)
    finding = shapes.recognise(
        found, stamp, known, lambda table: _count(raw, table), is_managed=_is_managed(raw), is_forced=is_forced
    )
    copied = [
        sql for table, sql in raw.execute(_COPIED).fetchall() if table in {*names, ledger.NAME} or table.startswith("_alembic_tmp_")
    ]
    steps: list[MigrationInfo] = []
    statements: list[str] = []
    with connection.in_memory(statements.append) as memory, memory.begin():
        for statement in copied:
            memory.exec_driver_sql(statement)
        statements.clear()
        for statement in finding.mends:
            memory.exec_driver_sql(statement)
        rehearsal.stamp(memory, script, finding.revision)
        rehearsal.build(memory, script, work, release, steps.append)
        ran = tuple(statements)
    if steps or finding.kind:
        _quick_check(raw, path)
    modules = [script.get_revision(str(step.up_revision_id)).module for step in steps]
    declared = any(getattr(module, "rewrites", False) or getattr(module, "row_loss", ()) for module in modules)
    is_additive = not declared and rehearsal.is_additive(ran)
    destination = (steps[-1].destination_revision_ids or (None,))[0] if steps else finding.revision
    start, expected = (_expected(script, known, revision) for revision in (finding.revision, destination))
    before = fingerprint.differences(fingerprint.without(found, start), start) if not finding.mends else []
    size = raw.execute("PRAGMA page_count").fetchone()[0] * raw.execute("PRAGMA page_size").fetchone()[0]
    return Plan(
        path=path,
        stamp=stamp,
        finding=finding,
        revisions=tuple(str(step.up_revision_id) for step in steps),
        destination=destination,
        statements=tuple(statement.strip() for statement in ran if not rehearsal.LOOKS.match(statement)),
        is_additive=is_additive,
        owners=_owners(raw, {thing for shape in known for things in shape.fingerprint.values() for thing in things}),
        expected=expected,
        tables=names,
        overlooked=frozenset(before),
        octets=_octets(path.parent, size, ran, is_additive=is_additive) if steps or finding.kind else {},
    )


def stamped(raw: sqlite3.Connection) -> str | None:
    """The revision in `alembic_version`. Raises SchemaError for more than one."""
    if not raw.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
        return None
    stamps = [str(row[0]) for row in raw.execute("SELECT version_num FROM alembic_version")]
    if len(stamps) > 1:
        raise SchemaError(
            f"the database is stamped with {len(stamps)} revisions: {', '.join(stamps)}", hint="alembic stamp --purge"
        )
    return stamps[0] if stamps else None


def refuse_without_space(plan: Plan) -> None:
    """Raises NoSpace, with what is needed and what is free."""
    for directory, octets in plan.octets.items():
        if (free := shutil.disk_usage(directory).free) < octets:
            sizes = f"needs {-(-octets // MIB)} MiB free in {directory}, there are {free // MIB} MiB"
            raise NoSpace(f"the upgrade of {plan.path} {sizes}; nothing was changed", hint="make room, then try again")


def _quick_check(raw: sqlite3.Connection, path: Path) -> None:
    if (found := raw.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise DatabaseCorrupt(f"{path} is not sound: {found}", hint=snapshot.hint(path))


def _expected(script: ScriptDirectory, known: tuple[rehearsal.Shape, ...], revision: str | None) -> fingerprint.Fingerprint:
    """The golden schema of a revision; what the revisions make, for one not released yet."""
    made = next((shape.fingerprint for shape in known if shape.revision == revision), {})
    return manifest.golden(Path(script.dir), revision) or made


def _owners(raw: sqlite3.Connection, ours: set[str]) -> dict[str, str]:
    query = "SELECT type || ' ' || name, sql FROM sqlite_master WHERE type IN ('trigger', 'view', 'index') AND sql IS NOT NULL"
    return {name: sql for name, sql in raw.execute(query) if name not in ours}


def _is_managed(raw: sqlite3.Connection) -> bool:
    return raw.execute("SELECT 1 FROM sqlite_master WHERE name IN ('alembic_version', 'schema_ledger')").fetchone() is not None


def _count(raw: sqlite3.Connection, table: str) -> int:
    return int(raw.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0])


def _octets(directory: Path, size: int, statements: Iterable[str], *, is_additive: bool) -> dict[Path, int]:
    is_sorting = not is_additive or any("INDEX" in statement.upper() for statement in statements)
    needed = {directory: _OVERHEAD + (0 if not is_sorting else size if is_additive else (_REBUILD + 1) * size)}
    places = (os.environ.get("SQLITE_TMPDIR"), os.environ.get("TMPDIR"), "/var/tmp", "/usr/tmp", "/tmp")  # noqa: S108  as SQLite has it
    temporary = next((Path(place) for place in places if place and os.access(place, os.W_OK | os.X_OK)), directory)
    if is_sorting and temporary.stat().st_dev != directory.stat().st_dev:
        needed[temporary] = _OVERHEAD + size
    return needed
