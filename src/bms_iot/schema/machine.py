"""What `migrations/env.py` calls: the same path for plain `alembic` and for our own command line."""

import logging.config
import os
import sqlite3
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib import metadata as distribution
from pathlib import Path
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from sqlalchemy import Connection, MetaData

from bms_iot.errors import BmsError, ConfigurationError, SchemaDrift, SchemaError, SchemaNewer
from bms_iot.schema import (
    connection,
    gate,
    ledger,
    lock,
    manifest,
    offline,
    owners,
    postgresql,
    preflight,
    rehearsal,
    snapshot,
    target,
    verify,
)
from bms_iot.schema.readonly import uri
from bms_iot.schema.run import Run

RAISE, URL, NAMED, PROGRESS, ADOPT, PLAN = "bms_raise", "bms_url", "bms_named", "bms_progress", "bms_adopt", "bms_plan"
"""Keys of `Config.attributes`: raise errors instead of exiting, the database's URL, whether somebody chose it, whom to tell about
progress; only recognise the database, whom to tell what would be done instead of doing it."""

_WRITES = {"upgrade", "downgrade", "do_stamp", "do_ensure_version"}


def run(
    *, metadata: Callable[[], MetaData], database_url: Callable[[], tuple[str, bool]], authoring: Mapping[str, Any] | None = None
) -> None:
    """Do what the Alembic command asks for, inside `env.py`.

    `database_url` says which database, and whether somebody chose it; `authoring` goes to `context.configure`. Exits with our own
    codes, or raises BmsError for callers that asked for it by `Config.attributes`.
    """
    _log()
    try:
        _dispatch({"target_metadata": metadata(), **(authoring or {})}, database_url)
    except BmsError as error:
        if context.config.attributes.get(RAISE):
            raise
        hint = f"\n{error.hint}" if error.hint else ""
        sys.stderr.write(f"bms-iot: {error}{hint}\n")
        raise SystemExit(error.exit_code) from error


def _dispatch(configure: dict[str, Any], database_url: Callable[[], tuple[str, bool]]) -> None:
    config = context.config
    # Alembic has no public word for which of its commands is running; the name of its work function is as stable as the command's.
    options: dict[str, Any] = vars(context)["_proxy"].context_opts
    verb = options["fn"].__name__
    if URL in config.attributes:
        database_url = lambda: (config.attributes[URL], config.attributes.get(NAMED, True))  # noqa: E731
    chosen = target.choose(database_url, ini_url=config.get_main_option("sqlalchemy.url"), ini_file=config.config_file_name)
    if chosen.path is None:
        _dispatch_postgresql(chosen, verb, configure, options)
    elif context.is_offline_mode():
        offline.print_sqlite(options, configure, config.output_buffer or config.stdout, release())
    elif PLAN in config.attributes:
        _plan(chosen.path, options["fn"])
    elif verb in _WRITES:
        manifest.refuse_edited(Path(context.script.dir))
        if ADOPT in config.attributes:
            options["fn"], verb = (lambda _revision, _context: ()), "adopt"
        elif verb == "upgrade":
            _ensure_directory(chosen, chosen.path.parent)
        _write(chosen.path, verb, configure, options["fn"])
    else:
        _read(chosen.path, configure, may_be_missing=_is_autogenerate(options))


def _dispatch_postgresql(chosen: target.Target, verb: str, configure: dict[str, Any], options: dict[str, Any]) -> None:
    def migrate(opened: Connection) -> None:
        if not _is_done(gate.judged(str(chosen), *postgresql.stamp(opened)), verb):
            _migrate(opened, configure, None)

    if context.is_offline_mode():
        offline.print_postgresql(options, configure, release())
    elif verb in _WRITES:
        manifest.refuse_edited(Path(context.script.dir))
        postgresql.write(chosen, migrate)
    else:
        postgresql.read(chosen, lambda opened: _show(opened, configure))


def _is_autogenerate(options: dict[str, Any]) -> bool:
    revision_context = options.get("revision_context")  # `check` has one too, which names no file
    return revision_context is not None and revision_context.command_args.get("message") is not None


def release() -> str:
    """The version of this package."""
    return distribution.version("bms-iot")


def _read(path: Path, configure: dict[str, Any], *, may_be_missing: bool) -> None:
    if not path.exists() and not may_be_missing:
        raise SchemaError(f"no database at {path}", hint="alembic upgrade head creates it")
    with connection.reading(path) if path.exists() else connection.in_memory() as opened:
        if not path.exists():
            # A new revision is compared with the revisions there are, for which a fresh clone needs no database.
            with opened.begin():
                rehearsal.build(opened, context.script, "head", release())
        _show(opened, configure)


def _show(opened: Connection, configure: dict[str, Any]) -> None:
    context.configure(connection=opened, dont_mutate=True, **configure)
    with context.begin_transaction():
        context.run_migrations()


def _plan(path: Path, work: rehearsal.Work) -> None:
    _is_done(gate.inspect(path), "plan")
    with connection.reading(path) if path.exists() else connection.in_memory() as opened, opened.begin():
        plan = preflight.examine(
            connection.driver(opened), path, context.script, work, release(), is_forced=_is_allowed("allow-drift")
        )
    context.config.attributes[PLAN](plan)


def _ensure_directory(chosen: target.Target, directory: Path) -> None:
    """Make our own data directory; a directory that somebody named must be there, since a misspelt one would start empty."""
    if directory.is_dir():
        return
    if chosen.is_named:
        raise ConfigurationError(f"there is no directory {directory}", hint=f"mkdir -p {directory}, or name another database")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{directory} cannot be made: {error.strerror}", hint="set BMS_DATA_DIRECTORY") from error


def _write(path: Path, verb: str, configure: dict[str, Any], work: rehearsal.Work) -> None:
    if not path.exists() and verb != "upgrade":
        raise SchemaError(f"no database at {path}", hint="alembic upgrade head creates it")
    with lock.exclusive(path, wait_seconds=lock.WAIT_SECONDS):
        if _is_done(gate.inspect(path), verb):
            return
        with _unchanged_on_failure(path), connection.writing(path) as opened:
            with opened.begin():
                if verb in ("upgrade", "downgrade", "adopt"):
                    _migrate_file(opened, path, verb, configure, work)
                else:
                    _migrate(opened, configure, None)
            connection.driver(opened).execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _migrate_file(opened: Connection, path: Path, verb: str, configure: dict[str, Any], work: rehearsal.Work) -> None:
    """Preflight, snapshot, and the run under guard."""
    raw = connection.driver(opened)
    plan = preflight.examine(raw, path, context.script, work, release(), is_forced=_is_allowed("allow-drift"))
    if plan.is_empty:
        return
    if verb == "downgrade" and plan.finding.kind:
        raise SchemaDrift(f"{path} has the tables of {plan.finding.revision}, not of {plan.stamp}; nothing was changed")
    preflight.refuse_without_space(plan)
    if not plan.is_additive and plan.finding.revision:
        source = sqlite3.connect(uri(path, "ro"), uri=True, isolation_level=None)
        snapshot.take(path, plan.stamp, source=source, on_progress=context.config.attributes.get(PROGRESS))
    steps: list[MigrationInfo] = []
    with connection.guarded(raw, lambda: (*plan.revisions, "")[len(steps)]):
        _migrate(opened, configure, plan, steps)


def _is_done(found: gate.GateResult, verb: str) -> bool:
    """Whether an upgrade has nothing to do on what a newer release left. Raises SchemaNewer where this one cannot go on."""
    if any(script.revision == found.revision for script in context.script.walk_revisions()):
        return False  # not released yet
    if found.state is gate.State.NEWER_COMPATIBLE and verb == "upgrade":
        sys.stderr.write(
            f"{found.database} is at {found.revision}, of a newer release, which this one may use; nothing was changed\n"
        )
        return True
    if found.state in (gate.State.NEWER, gate.State.NEWER_COMPATIBLE):
        raise SchemaNewer(f"{found.database} is at {found.revision}, which this release does not know: a newer one wrote it")
    return False


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
    opened: Connection, configure: dict[str, Any], plan: preflight.Plan | None, steps: list[MigrationInfo] | None = None
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
    progress = context.config.attributes.get(PROGRESS)
    work = Run(opened, release=release(), allow_loss=_is_allowed("allow-loss"), on_progress=progress)
    context.configure(connection=opened, on_version_apply=applied, run=work, **configure)
    with owners.set_aside(opened, plan) if plan else nullcontext():
        if plan:
            _settle(opened, plan)
        context.run_migrations()
    if steps or plan:
        declared.any_rows = work.is_loss_allowed
        verify.check(opened, before, declared, plan)
    if steps:
        ledger.conclude(opened, script, steps, release=release())


def _settle(opened: Connection, plan: preflight.Plan) -> None:
    """Mend and stamp the database as it was found to be."""
    finding = plan.finding
    for statement in finding.mends:
        opened.exec_driver_sql(statement)
    if finding.kind:
        context.get_context().stamp(context.script, finding.revision or "base")
        detail = {"mends": list(finding.mends), "overlooked": list(finding.differences)}
        ledger.append(opened, finding.kind, detail, release=release(), from_revision=plan.stamp, to_revision=finding.revision)


def _is_allowed(what: str) -> bool:
    return context.get_x_argument(as_dictionary=True).get(what) == "yes"


def _log() -> None:
    file = context.config.config_file_name
    if file and context.config.file_config.has_section("loggers"):
        logging.config.fileConfig(file, disable_existing_loggers=False)
