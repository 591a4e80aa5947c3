"""A run, from the lock to the commit: every change of a database is one transaction that we open."""

import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from bms_iot.database import connection, gate, ledger, lock, postgresql, snapshot, space, target
from bms_iot.database.readonly import uri
from bms_iot.errors import SchemaDrift, SchemaError
from bms_iot.schema import owners, preflight, rehearsal, verify
from bms_iot.schema.run import Progress, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be done: Alembic's `verb` or `adopt`, its work function, and the options for `context.configure`."""

    verb: str
    work: rehearsal.Work
    configure: Mapping[str, Any]
    allow_loss: bool
    allow_drift: bool
    on_progress: Progress | None


def write_server(chosen: target.Target, order: Order) -> None:
    """Raises SchemaError; the database is then as it was."""

    def migrate(opened: Connection) -> None:
        if not preflight.is_of_newer(gate.judged(str(chosen), *postgresql.stamp(opened)), context.script, order.verb):
            _migrate(opened, order)

    postgresql.write(chosen, migrate)


def write_file(path: Path, order: Order) -> None:
    """Raises SchemaError; the file is then as it was, or missing as it was."""
    if not path.exists() and order.verb != "upgrade":
        raise SchemaError(f"no database at {path}", hint="alembic upgrade head creates it")
    with lock.exclusive(path, wait_seconds=lock.WAIT_SECONDS):
        if preflight.is_of_newer(gate.inspect(path), context.script, order.verb):
            return
        with _unchanged_on_failure(path), connection.writing(path) as opened:
            with opened.begin():
                if order.verb in ("upgrade", "downgrade", "adopt"):
                    _migrate_file(opened, path, order)
                else:
                    _migrate(opened, order)
            connection.driver(opened).execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _migrate_file(opened: Connection, path: Path, order: Order) -> None:
    """Preflight, snapshot, and the run under guard."""
    raw = connection.driver(opened)
    plan = preflight.examine(raw, path, context.script, order.work, is_forced=order.allow_drift)
    if plan.is_empty:
        return
    if order.verb == "downgrade" and plan.finding.kind:
        raise SchemaDrift(f"{path} has the tables of {plan.finding.revision}, not of {plan.stamp}; nothing was changed")
    space.refuse_without(plan.octets, path)
    if not plan.is_additive and plan.finding.revision:
        source = sqlite3.connect(uri(path, "ro"), uri=True, isolation_level=None)
        snapshot.take(path, plan.stamp, source=source, on_progress=order.on_progress)
    steps: list[MigrationInfo] = []
    with connection.guarded(raw, lambda: (*plan.revisions, "")[len(steps)]):
        _migrate(opened, order, plan, steps)


@contextmanager
def _unchanged_on_failure(path: Path) -> Iterator[None]:
    """Make a missing file readable by its owner only, and take it away again when nothing came of it."""
    is_new = not path.exists()
    if is_new:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    try:
        yield
    except BaseException:
        if is_new and path.stat().st_size == 0:
            path.unlink()
        raise


def _migrate(
    opened: Connection, order: Order, plan: preflight.Plan | None = None, steps: list[MigrationInfo] | None = None
) -> None:
    """The whole run, in the transaction that is already begun. Nothing was planned on PostgreSQL, nor for a stamp."""
    steps, script = [] if steps is None else steps, context.script
    before, declared = verify.take_census(opened), verify.Declared()

    def applied(ctx: MigrationContext, step: MigrationInfo, heads: Collection[Any], run_args: Mapping[str, Any]) -> None:
        steps.append(step)
        module = script.get_revision(str(step.up_revision_id)).module
        suffix = "" if step.is_upgrade else "_on_downgrade"
        declared.rows.update(getattr(module, f"row_loss{suffix}", ()))
        declared.objects.update(getattr(module, f"object_loss{suffix}", ()))
        if step.is_upgrade and not step.is_stamp and (problems := list(getattr(module, "verify", lambda _: ())(ctx.connection))):
            raise SchemaError(f"revision {step.up_revision_id} was rolled back, since {'; '.join(problems)}")

    declared.watch(opened)
    ledger.ensure(opened)
    run = Run(opened, allow_loss=order.allow_loss, on_progress=order.on_progress)
    context.configure(connection=opened, on_version_apply=applied, run=run, **order.configure)
    with owners.set_aside(opened, plan.owners, is_additive=plan.is_additive) if plan else nullcontext():
        if plan:
            _settle(opened, plan)
        context.run_migrations()
    if steps or plan:
        declared.any_rows = run.is_loss_allowed
        verify.check(opened, before, declared, plan)
    if steps:
        conclude(opened, script, steps)


def _settle(opened: Connection, plan: preflight.Plan) -> None:
    """Mend and stamp the database as it was found to be."""
    finding = plan.finding
    for statement in finding.mends:
        opened.exec_driver_sql(statement)
    if finding.kind:
        context.get_context().stamp(context.script, finding.revision or "base")
        detail = {"mends": list(finding.mends), "overlooked": list(finding.differences)}
        ledger.append(opened, finding.kind, detail, from_revision=plan.stamp, to_revision=finding.revision)


def conclude(connection: Connection, script: ScriptDirectory, steps: Sequence[MigrationInfo]) -> None:
    """The entry of a whole run of at least one step. `compat_floor` is the oldest revision whose release may run from now on."""
    kind = "stamp" if steps[0].is_stamp else "upgrade" if steps[0].is_upgrade else "downgrade"
    before, after = next(iter(steps[0].source_revision_ids), None), next(iter(steps[-1].destination_revision_ids), None)
    floors = (getattr(revision.module, "compat_floor", None) for revision in script.iterate_revisions(after, "base"))
    ledger.append(connection, kind, {"compat_floor": next(filter(None, floors), None)}, from_revision=before, to_revision=after)
