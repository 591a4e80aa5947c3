"""`bms-iot mqtt traffic`: what a site costs on a metered line."""

import json
from dataclasses import asdict
from typing import Annotated

import typer


def traffic(
    days: Annotated[int, typer.Option(min=1, max=400, help="How many days, the newest first.")] = 31,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the octets sent and received by day (UTC): MQTT packets, without TLS and TCP.

    A running gateway writes it every quarter of an hour.
    """
    import asyncio

    from bms_iot.at_rest import read_traffic
    from bms_iot.settings import load_settings

    known = asyncio.run(read_traffic(load_settings(), days))
    if as_json:
        typer.echo(json.dumps([{**asdict(day), "day": day.day.isoformat()} for day in known]))
        return
    typer.echo(f"{'day':<10} {'sent':>16} {'received':>14} {'messages':>12} {'readings':>14}")
    for day in known:
        typer.echo(f"{day.day} {day.sent_bytes:>16,} {day.received_bytes:>14,} {day.messages:>12,} {day.readings:>14,}")
