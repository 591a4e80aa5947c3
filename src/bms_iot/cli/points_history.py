"""`bms-iot points history`: what points were, as the device kept it."""

import csv
import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bms_iot.gateway.points import KnownPoint
    from bms_iot.storage.history import Entry

COLUMNS = ("acquired_at", "point", "present_value", "quality", "iot_device_point_id")
WHEN = "A time such as 2026-11-22T08:00Z (local time without Z), or how long ago: 90m, 24h, 7d."
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

Write = Callable[[dict[str, str | None]], None]


def history(
    which: Annotated[str, typer.Argument(help="An id, DEVICE/OBJECT such as 1200/AI1, or DEVICE/TYPE/NAME with * and ?.")],
    since: Annotated[str, typer.Option(help=f"{WHEN} The first moment that counts.")] = "24h",
    until: Annotated[str | None, typer.Option(help=f"{WHEN} The first moment that counts no more; now by default.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a heading.")] = False,
    as_ndjson: Annotated[bool, typer.Option("--ndjson", help="Print an object a line.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
) -> None:
    """Print what points were. A running gateway writes it every two minutes.

    Kept is what changed beyond the COV increment, and each value once an hour.
    """
    import asyncio

    if as_csv + as_ndjson + as_json > 1:
        raise typer.BadParameter("only one of --csv, --ndjson and --json")
    now = datetime.now(UTC)
    first, end = _moment(since, now, "--since"), now if until is None else _moment(until, now, "--until")
    rows = asyncio.run(_print(which, first, end, _writer(as_csv=as_csv, as_ndjson=as_ndjson, as_json=as_json)))
    if as_json:
        typer.echo("]" if rows else "[]")
    if not rows:
        typer.echo("nothing was kept of that time", err=True)


async def _print(which: str, since: datetime, until: datetime, write: Write) -> int:
    from bms_iot.at_rest import read_history
    from bms_iot.settings import load_settings

    rows = 0
    async for known, entry in read_history(load_settings(), which, since=since, until=until):
        write(_row(known, entry))
        rows += 1
    return rows


def _row(known: "KnownPoint", entry: "Entry") -> dict[str, str | None]:
    moment = entry.acquired_at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
    values = (f"{moment}Z", known.spelling, entry.present_value, entry.quality.value, known.point.iot_device_point_id)
    return dict(zip(COLUMNS, values, strict=True))


def _writer(*, as_csv: bool, as_ndjson: bool, as_json: bool) -> Write:
    if as_csv:
        table = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
        table.writeheader()
        return table.writerow
    if as_ndjson:
        return lambda row: typer.echo(json.dumps(row, ensure_ascii=False))
    if as_json:
        opening = iter("[")
        return lambda row: typer.echo(f"{next(opening, ',')}{json.dumps(row, ensure_ascii=False)}")
    return lambda row: typer.echo(_line(row))


def _line(row: dict[str, str | None]) -> str:
    value = "-" if row["present_value"] is None else row["present_value"]
    return f"{row['acquired_at']}  {row['point']:<28} {row['quality']:<9} {value}"


def _moment(text: str, now: datetime, option: str) -> datetime:
    if ago := re.fullmatch(r"(\d{1,9})([smhdw])", text.strip().lower()):
        return now - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is no time; {WHEN}", param_hint=option) from None
