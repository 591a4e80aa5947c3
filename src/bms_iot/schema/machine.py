"""What `migrations/env.py` calls: the same path for plain `alembic` and for our own command line."""

import logging.config
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata as distribution
from pathlib import Path
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from sqlalchemy import Connection, MetaData, inspect

from bms_iot.errors import BmsError, SchemaError, SchemaNewer
from bms_iot.schema import connection, ledger, lock, offline, postgresql, target, verify
from bms_iot.schema.run import Run

RAISE, URL, PROGRESS = "bms_raise", "bms_url", "bms_progress"
"""Keys of `Config.attributes`: raise errors instead of exiting, the database's URL, and whom to tell about progress."""

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
        database_url = lambda: (config.attributes[URL], True)  # noqa: E731
    chosen = target.choose(database_url, ini_url=config.get_main_option("sqlalchemy.url"), ini_file=config.config_file_name)
    if chosen.path is None:
        _dispatch_postgresql(chosen, verb, configure, options)
    elif context.is_offline_mode():
        offline.print_sqlite(options, configure, config.output_buffer or config.stdout, release())
    elif verb in _WRITES:
        _write(chosen.path, verb, configure)
    else:
        _read(chosen.path, configure, may_be_missing=_is_autogenerate(options))


def _dispatch_postgresql(chosen: target.Target, verb: str, configure: dict[str, Any], options: dict[str, Any]) -> None:
    if context.is_offline_mode():
        offline.print_postgresql(options, configure, release())
    elif verb in _WRITES:
        postgresql.write(chosen, lambda opened: _migrate(opened, configure))
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
                offline.build(opened, context.script, "head", release())
        _show(opened, configure)


def _show(opened: Connection, configure: dict[str, Any]) -> None:
    context.configure(connection=opened, dont_mutate=True, **configure)
    with context.begin_transaction():
        context.run_migrations()


def _write(path: Path, verb: str, configure: dict[str, Any]) -> None:
    if not path.exists():
        if verb != "upgrade":
            raise SchemaError(f"no database at {path}", hint="alembic upgrade head creates it")
        path.parent.mkdir(parents=True, exist_ok=True)
    with lock.exclusive(path, wait_seconds=lock.WAIT_SECONDS), _unchanged_on_failure(path), connection.writing(path) as opened:
        with opened.begin():
            _migrate(opened, configure)
        opened.connection.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]


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


def _migrate(opened: Connection, configure: dict[str, Any]) -> None:
    """The whole run, in the transaction that is already begun."""
    config, script = context.config, context.script
    _refuse_newer(opened)
    before, declared = verify.take_census(opened), verify.Declared()
    steps: list[MigrationInfo] = []

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
    allow_loss = context.get_x_argument(as_dictionary=True).get("allow-loss") == "yes"
    work = Run(opened, release=release(), allow_loss=allow_loss, on_progress=config.attributes.get(PROGRESS))
    context.configure(connection=opened, on_version_apply=applied, run=work, **configure)
    context.run_migrations()
    if steps:
        declared.any_rows = work.is_loss_allowed
        verify.check(opened, before, declared)
        ledger.conclude(opened, script, steps, release=release())


def _refuse_newer(opened: Connection) -> None:
    """Raises SchemaNewer for a revision this release has no file for."""
    if inspect(opened).has_table("alembic_version"):
        known = {script.revision for script in context.script.walk_revisions()}
        for revision in opened.exec_driver_sql("SELECT version_num FROM alembic_version").scalars():
            if revision not in known:
                raise SchemaNewer(f"the database is at {revision}, which this release does not know: a newer one wrote it")


def _log() -> None:
    file = context.config.config_file_name
    if file and context.config.file_config.has_section("loggers"):
        logging.config.fileConfig(file, disable_existing_loggers=False)
