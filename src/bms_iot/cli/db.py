"""`bms-iot db`: the database's schema."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bms_iot.cli.db_lint import lint

app = typer.Typer(name="db", help="The database: its schema, its upgrades, its copies.", no_args_is_help=True)
app.command()(lint)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Revision = Annotated[str, typer.Argument(help="Where to; the newest by default.")]
AllowDrift = Annotated[bool, typer.Option("--allow-drift", help="Go on with a schema that is not quite what it should be.")]


@app.command()
def upgrade(revision: Revision = "head", allow_drift: AllowDrift = False, as_json: AsJson = False) -> None:
    """Bring the database to this release's schema, all or nothing. Safe to repeat, and to interrupt."""
    from bms_iot.cli.progress import Progress
    from bms_iot.schema import commands
    from bms_iot.settings import database_url

    url, is_named = database_url()
    commands.upgrade(url, revision, is_named=is_named, allow_drift=allow_drift, on_progress=Progress())
    _say_where_it_is(as_json)


@app.command()
def adopt(allow_drift: AllowDrift = False, as_json: AsJson = False) -> None:
    """Recognise a database without a revision by its tables, and mend what an upgrade left half done."""
    from bms_iot.schema import commands

    commands.adopt(_url(), allow_drift=allow_drift)
    _say_where_it_is(as_json)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show where the database is and what waits. Changes nothing."""
    from bms_iot.database import inspection

    found = dataclasses.asdict(inspection.status(_url()))
    last = found["last_run"]
    _show(
        found,
        as_json,
        {
            "database": found["database"],
            "state": found["state"],
            "revision": found["revision"],
            "head": found["head"],
            "pending": ", ".join(found["pending"]),
            "floor": found["floor"],
            "schema": "; ".join(found["drift"])
            or ("as released" if found["revision"] in (found["head"], *found["pending"]) else ""),
            "last run": last and f"{last['kind']} to {last['to_revision']} at {last['at']} by {last['release']}",
            "snapshots": ", ".join(found["snapshots"]),
        },
    )


@app.command()
def plan(
    revision: Revision = "head",
    sql: Annotated[bool, typer.Option("--sql", help="Print the statements as well.")] = False,
    allow_drift: AllowDrift = False,
    as_json: AsJson = False,
) -> None:
    """Show what an upgrade would do, and the room it needs. Changes nothing."""
    from bms_iot.schema import commands

    found = commands.plan(_url(), revision, allow_drift=allow_drift)
    octets = {str(directory): size for directory, size in found.octets.items()}
    facts: dict[str, Any] = {
        "database": str(found.path),
        "revision": found.stamp,
        "found_at": found.finding.revision,
        "adoption": found.finding.kind,
        "mends": list(found.finding.mends),
        "pending": list(found.revisions),
        "kind": "nothing" if found.is_empty else "additive" if found.is_additive else "rewriting, after a snapshot",
        "needs_octets": octets,
        "kept": sorted(found.owners),
        **({"sql": list(found.statements)} if sql else {}),
    }
    shown = {name: ", ".join(value) if isinstance(value, list) else value for name, value in facts.items() if name != "sql"}
    shown["needs_octets"] = ", ".join(f"{-(-size // 2**20)} MiB in {directory}" for directory, size in octets.items())
    _show(facts, as_json, {name.replace("needs_octets", "needs").replace("_", " "): value for name, value in shown.items()})
    for statement in found.statements if sql and not as_json else ():
        typer.echo(f"{statement};")


@app.command()
def verify(as_json: AsJson = False) -> None:
    """Check file, rows and schema against what was released. Changes nothing."""
    from bms_iot.database import inspection
    from bms_iot.errors import SchemaDrift

    problems = inspection.verify(_url())
    if as_json:
        typer.echo(json.dumps({"problems": problems}))
    if problems:
        raise SchemaDrift(f"the database is not as it should be: {'; '.join(problems)}")
    if not as_json:
        typer.echo("sound, and as released")


@app.command()
def backup(
    to: Annotated[Path | None, typer.Argument(help="The file; a snapshot beside the database by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Copy the database, also while the gateway writes."""
    from bms_iot.cli.progress import Progress
    from bms_iot.database import gate, inspection, lock, snapshot

    path = inspection.file_of(_url())
    with lock.exclusive(path, wait_seconds=lock.WAIT_SECONDS):
        made = snapshot.take(path, gate.inspect(path).revision, to=to and to.resolve(), on_progress=Progress())
    _show({"snapshot": str(made)}, as_json, {"snapshot": made})


@app.command()
def restore(
    snapshot: Annotated[Path, typer.Argument(help="What `db backup` or an upgrade wrote.")], as_json: AsJson = False
) -> None:
    """Put a snapshot in the place of the database. Stop the gateway first."""
    from bms_iot.bootstrap import only_one
    from bms_iot.database import snapshot as snapshots
    from bms_iot.database import target
    from bms_iot.errors import SchemaError
    from bms_iot.settings import load_settings

    chosen = target.resolve(_url(), relative_to=Path.cwd())
    if chosen.path is None:
        raise SchemaError(f"{chosen} is no file", hint="PostgreSQL has pg_restore for this")
    with only_one(load_settings().data_directory):  # a gateway that idles holds no lock on the file that is swapped under it
        snapshots.restore(chosen.path, snapshot.resolve())
    _say_where_it_is(as_json)


@app.command()
def history(as_json: AsJson = False) -> None:
    """Show what was done to this database. Changes nothing."""
    from bms_iot.database import inspection

    entries = inspection.history(_url())
    if as_json:
        typer.echo(json.dumps(entries, default=str))
        return
    for entry in entries:
        typer.echo(
            f"{entry['at']}  {entry['kind']:9}  {entry['from_revision'] or '-'} → {entry['to_revision'] or '-'}  {entry['release']}"
        )


def _url() -> str:
    from bms_iot.settings import database_url

    return database_url()[0]


def _say_where_it_is(as_json: bool) -> None:
    from bms_iot.database import inspection

    status = inspection.status(_url())
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(status), default=str))
    typer.echo(f"{status.database} is at {status.revision} ({status.state})", err=True)


def _show(facts: Mapping[str, Any], as_json: bool, lines: Mapping[str, Any]) -> None:
    if as_json:
        typer.echo(json.dumps(facts, default=str))
        return
    width = max(map(len, lines))
    for name, value in lines.items():
        typer.echo(f"{name:{width}}  {value or '-'}")
