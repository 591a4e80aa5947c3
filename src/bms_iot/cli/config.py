"""`bms-iot config`: what is set, and where."""

import json
import os
import sys
from typing import Annotated, Any

import typer

app = typer.Typer(help="Show, change and check the settings.", no_args_is_help=True)


@app.command("show")
def show(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: key → value and origin.")] = False,
) -> None:
    """Print every setting, its value and where it was set. Secrets are not shown."""
    from bms_iot.settings import gather, load_settings, setting_keys

    settings = load_settings()
    _, origins = gather(os.environ)
    effective = {"database_url": settings.url, "mqtt.port": settings.mqtt.effective_port, "mqtt.tls": settings.mqtt.uses_tls}
    rows = {
        key: {"value": effective[key] if value is None and key in effective else value, "origin": origins.get(key, "default")}
        for key in setting_keys()
        for value in (_shown(settings, key),)
    }
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    width = max(map(len, rows))
    for key, row in rows.items():
        origin = "" if row["origin"] == "default" else f"   ({row['origin']})"
        typer.echo(f"{key:<{width}}  {'-' if row['value'] is None else row['value']}{origin}")


@app.command("set")
def set_(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A dotted key, as `config show` prints it.")],
    value: Annotated[
        str | None,
        typer.Argument(metavar="VALUE", help="Its value. For a secret leave it out: it is asked for, or read from stdin."),
    ] = None,
) -> None:
    """Set one key in the settings file; an empty value takes it back."""
    from pydantic import SecretStr

    from bms_iot.cli.settings_file import variable, write_settings
    from bms_iot.settings import setting_keys

    kind = setting_keys().get(key)
    if kind is None:
        raise typer.BadParameter(f"{key} is not a setting; bms-iot config show lists them", param_hint="KEY")
    if kind is SecretStr:
        if value is not None:
            raise typer.BadParameter(
                "a secret on the command line shows in ps; leave it out and it is asked for", param_hint="VALUE"
            )
        value = typer.prompt(key, hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if value is None:
        raise typer.BadParameter("a value is missing", param_hint="VALUE")
    path = write_settings(os.environ, {key: value})
    typer.echo(f"{key} is set in {path}" if value else f"{key} is no longer set in {path}", err=True)
    if variable(key) in os.environ:
        typer.echo(f"but the environment sets it too, and wins: {variable(key)}", err=True)


@app.command("validate")
def validate() -> None:
    """Check every setting, and whether the gateway has what it needs to run. Exit 78 names what is wrong."""
    from bms_iot.provisioning import require_provisioned
    from bms_iot.settings import load_settings, settings_file

    settings = load_settings()
    require_provisioned(settings)
    if settings_file().exists() and settings_file().stat().st_mode & 0o077:
        typer.echo(f"others can read {settings_file()}\n  next: chmod 600 {settings_file()}", err=True)
    typer.echo(f"settings are valid ({settings_file()})", err=True)


def _shown(settings: Any, key: str) -> object:
    from pydantic import SecretStr
    from sqlalchemy.engine import make_url

    value: Any = settings
    for part in key.split("."):
        value = getattr(value, part)
    if isinstance(value, SecretStr):
        return "********"
    if key == "database_url" and value is not None:
        return make_url(value).render_as_string(hide_password=True)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return ", ".join(value) if isinstance(value, tuple) else str(value)
