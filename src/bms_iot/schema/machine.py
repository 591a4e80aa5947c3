"""What `migrations/env.py` calls: the same path for plain `alembic` and for our own command line."""

import logging.config
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from alembic import context
from sqlalchemy import Connection, MetaData

from bms_iot.database import connection, gate, manifest, postgresql, target
from bms_iot.errors import BmsError, SchemaError
from bms_iot.schema import preflight, rehearsal, transaction

RAISE, URL, NAMED, PROGRESS, ADOPT, PLAN = "bms_raise", "bms_url", "bms_named", "bms_progress", "bms_adopt", "bms_plan"
"""Keys of `Config.attributes`: raise errors instead of exiting, the database's URL, whether somebody chose it, whom to tell about
progress; only recognise the database, whom to tell what would be done instead of doing it."""

_WRITES = {"upgrade", "downgrade", "do_stamp", "do_ensure_version"}
PrintScript = Callable[[str, dict[str, Any], dict[str, Any], TextIO], None]
"""From the dialect, Alembic's options and those of `context.configure`, prints the SQL instead of running it."""


def run(
    *,
    metadata: Callable[[], MetaData],
    database_url: Callable[[], tuple[str, bool]],
    authoring: Mapping[str, Any],
    print_script: PrintScript,
) -> None:
    """Do what the Alembic command asks for, inside `env.py`.

    `database_url` says which database, and whether somebody chose it; `authoring` goes to `context.configure`; `print_script` does
    `--sql`. Exits with our own codes, or raises BmsError for callers that asked for it by `Config.attributes`.
    """
    _log()
    try:
        _dispatch({"target_metadata": metadata(), **authoring}, database_url, print_script)
    except BmsError as error:
        if context.config.attributes.get(RAISE):
            raise
        hint = f"\n{error.hint}" if error.hint else ""
        sys.stderr.write(f"bms-iot: {error}{hint}\n")
        raise SystemExit(error.exit_code) from error


def _dispatch(configure: dict[str, Any], database_url: Callable[[], tuple[str, bool]], print_script: PrintScript) -> None:
    config = context.config
    # Alembic has no public word for which of its commands is running; the name of its work function is as stable as the command's.
    options: dict[str, Any] = vars(context)["_proxy"].context_opts
    verb = options["fn"].__name__
    if URL in config.attributes:
        database_url = lambda: (config.attributes[URL], config.attributes.get(NAMED, True))  # noqa: E731
    chosen = target.choose(database_url, ini_url=config.get_main_option("sqlalchemy.url"), ini_file=config.config_file_name)
    if context.is_offline_mode():
        print_script("sqlite" if chosen.path else "postgresql", options, configure, config.output_buffer or config.stdout)
        return
    if chosen.path is None and not config.attributes.keys().isdisjoint((PLAN, ADOPT)):
        raise SchemaError(f"{chosen} is no file, which plan and adopt need", hint="alembic upgrade head --sql prints the SQL")
    if PLAN in config.attributes and chosen.path:
        _plan(chosen.path, options["fn"])
    elif verb in _WRITES:
        manifest.refuse_edited(Path(context.script.dir))
        if ADOPT in config.attributes:
            options["fn"], verb = (lambda _revision, _context: ()), "adopt"
        order = transaction.Order(
            verb=verb,
            work=options["fn"],
            configure=configure,
            allow_loss=_is_allowed("allow-loss"),
            allow_drift=_is_allowed("allow-drift"),
            on_progress=config.attributes.get(PROGRESS),
        )
        if verb == "upgrade":
            chosen.ensure_directory()
        transaction.write_file(chosen.path, order) if chosen.path else transaction.write_server(chosen, order)
    elif chosen.path is None:
        postgresql.read(chosen, lambda opened: _show(opened, configure))
    else:
        _read(chosen.path, configure, may_be_missing=_is_autogenerate(options))


def _is_autogenerate(options: dict[str, Any]) -> bool:
    revision_context = options.get("revision_context")  # `check` has one too, which names no file
    return revision_context is not None and revision_context.command_args.get("message") is not None


def _read(path: Path, configure: dict[str, Any], *, may_be_missing: bool) -> None:
    if not path.exists() and not may_be_missing:
        raise SchemaError(f"no database at {path}", hint="alembic upgrade head creates it")
    with connection.reading(path) if path.exists() else connection.in_memory() as opened:
        if not path.exists():
            # A new revision is compared with the revisions there are, for which a fresh clone needs no database.
            with opened.begin():
                rehearsal.build(opened, context.script, "head")
        _show(opened, configure)


def _show(opened: Connection, configure: dict[str, Any]) -> None:
    context.configure(connection=opened, dont_mutate=True, **configure)
    with context.begin_transaction():
        context.run_migrations()


def _plan(path: Path, work: rehearsal.Work) -> None:
    preflight.is_of_newer(gate.inspect(path), context.script, "plan")
    with connection.reading(path) if path.exists() else connection.in_memory() as opened, opened.begin():
        plan = preflight.examine(connection.driver(opened), path, context.script, work, is_forced=_is_allowed("allow-drift"))
    context.config.attributes[PLAN](plan)


def _is_allowed(what: str) -> bool:
    return context.get_x_argument(as_dictionary=True).get(what) == "yes"


def _log() -> None:
    file = context.config.config_file_name
    if file and context.config.file_config.has_section("loggers"):
        logging.config.fileConfig(file, disable_existing_loggers=False)
