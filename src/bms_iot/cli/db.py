"""`bms-iot db`: the database's schema."""

import dataclasses
import json
from typing import Annotated

import typer

from bms_iot.cli.db_lint import lint

app = typer.Typer(name="db", help="The database: its schema and its upgrades.", no_args_is_help=True)
app.command()(lint)


@app.command()
def upgrade(revision: Annotated[str, typer.Argument(help="Where to; the newest by default.")] = "head") -> None:
    """Bring the database to this release's schema, all or nothing. Safe to repeat, and to interrupt."""
    from bms_iot.schema import commands
    from bms_iot.settings import database_url

    url, _ = database_url()
    commands.upgrade(url, revision, on_progress=lambda done, total, what: typer.echo(f"{done} of {total} {what}", err=True))
    status = commands.status(url)
    typer.echo(f"{status.database} is at {status.revision} ({status.state})", err=True)


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show where the database is and what waits. Changes nothing."""
    from bms_iot.schema import commands
    from bms_iot.settings import database_url

    url, _ = database_url()
    result = commands.status(url)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(result)))
        return
    typer.echo(f"database  {result.database}")
    typer.echo(f"state     {result.state}")
    typer.echo(f"revision  {result.revision or '-'}")
    typer.echo(f"head      {result.head}")
    typer.echo(f"pending   {', '.join(result.pending) or '-'}")
