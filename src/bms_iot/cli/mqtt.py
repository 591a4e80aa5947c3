"""`bms-iot mqtt`: the way to the broker."""

import json
import os
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bms_iot.domain.configuration import Deployment
    from bms_iot.mqtt.topics import Topics
    from bms_iot.mqtt.trial import Stage
    from bms_iot.settings import Settings

app = typer.Typer(help="Set up and try the way to the broker.", no_args_is_help=True)

Host = Annotated[str | None, typer.Option(help="Name or address of the broker.")]
Port = Annotated[int | None, typer.Option(help="Its port; follows from TLS and transport by default.", min=1, max=65_535)]
Username = Annotated[str | None, typer.Option(help="The password is asked for.")]
PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from the first line of stdin.")]
CaCertificate = Annotated[Path | None, typer.Option(help="PEM file of the broker's authority.")]
ClientCertificate = Annotated[Path | None, typer.Option(help="PEM file, for mutual TLS.")]
ClientKey = Annotated[Path | None, typer.Option(help="PEM file, for mutual TLS.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]

EMQX_PORTS = {("tcp", True): 8883, ("tcp", False): 1883, ("websocket", True): 8084, ("websocket", False): 8083}
"""EMQX's listeners as it is delivered: transport and TLS → port."""
WIDTH = 80


@app.command("config")
def config(
    host: Host = None,
    port: Port = None,
    tls: Annotated[bool | None, typer.Option("--tls/--no-tls", help="On, except towards this machine itself.")] = None,
    username: Username = None,
    password_stdin: PasswordStdin = False,
    client_id: Annotated[str | None, typer.Option(help="The device's id by default.")] = None,
    ca_certificate: CaCertificate = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    protocol: Annotated[str | None, typer.Option(help="auto, 5 or 3.1.1.")] = None,
    transport: Annotated[str | None, typer.Option(help="tcp or websocket.")] = None,
    websocket_path: Annotated[str | None, typer.Option(help="/mqtt by default.")] = None,
    proxy: Annotated[str | None, typer.Option(help="HOST:PORT of an HTTP proxy.")] = None,
) -> None:
    """Set the way to the broker: what is given, or, without options, what you are asked for."""
    given = {
        "mqtt.host": host,
        "mqtt.port": port,
        "mqtt.tls": tls,
        "mqtt.username": username,
        "mqtt.client_id": client_id,
        "mqtt.ca_certificate": _file(ca_certificate),
        "mqtt.client_certificate": _file(client_certificate),
        "mqtt.client_key": _file(client_key),
        "mqtt.protocol": protocol,
        "mqtt.transport": transport,
        "mqtt.websocket_path": websocket_path,
        "mqtt.proxy": proxy,
    }
    values = {key: _text(value) for key, value in given.items() if value is not None}
    if not values and not password_stdin:
        if not sys.stdin.isatty():
            raise typer.BadParameter("without a terminal to ask on, give at least --host")
        values = _ask()
    _save(values | _password(username=values.get("mqtt.username"), from_stdin=password_stdin))


@app.command("config-emqx")
def config_emqx(
    host: Annotated[str | None, typer.Argument(help="Name of your EMQX, such as broker.example.com.")] = None,
    username: Username = None,
    password_stdin: PasswordStdin = False,
    port: Port = None,
    tls: Annotated[bool, typer.Option("--tls/--no-tls", help="EMQX listens with TLS on 8883, without on 1883.")] = True,
    websocket: Annotated[
        bool, typer.Option("--websocket", help="EMQX's WebSocket listeners: 8084 with TLS, 8083 without.")
    ] = False,
    ca_certificate: CaCertificate = None,
) -> None:
    """Set the way to an EMQX broker of your own: its ports, MQTT 5, verified TLS."""
    if host is None:
        if not sys.stdin.isatty():
            raise typer.BadParameter("the host of your EMQX is missing", param_hint="HOST")
        host = str(typer.prompt("Host of your EMQX", err=True))
        username = username or str(typer.prompt("User name (empty for none)", default="", show_default=False, err=True)) or None
    transport = "websocket" if websocket else "tcp"
    values = {
        "mqtt.host": host,
        "mqtt.port": str(port or EMQX_PORTS[transport, tls]),
        "mqtt.tls": _text(tls),
        "mqtt.transport": transport,
        "mqtt.websocket_path": "/mqtt",
        "mqtt.protocol": "5",
    }
    if username:
        values["mqtt.username"] = username
    if ca_certificate:
        values["mqtt.ca_certificate"] = _file(ca_certificate) or ""
    _save(values | _password(username=username, from_stdin=password_stdin))


@app.command("show")
def show(as_json: AsJson = False) -> None:
    """Print the way to the broker and our topics. Secrets are not shown."""
    import asyncio

    from bms_iot.provisioning import known_deployment
    from bms_iot.settings import load_settings

    settings = load_settings()
    deployment = asyncio.run(known_deployment(settings))
    mqtt, topics = settings.mqtt, _topics(deployment)
    rows: dict[str, object] = {
        "host": mqtt.host,
        "port": mqtt.effective_port,
        "transport": mqtt.transport,
        "tls": mqtt.uses_tls,
        "protocol": mqtt.protocol,
        "client_id": mqtt.client_id or (deployment.device_id if deployment else None),
        "username": mqtt.username,
        "password": None if mqtt.password is None else "********",
        "ca_certificate": _file(mqtt.ca_certificate),
        "client_certificate": _file(mqtt.client_certificate),
        "proxy": mqtt.proxy,
        "publishes": [topics.bulk, topics.status_update, topics.heartbeat, topics.command_response("+")] if topics else None,
        "subscribes": list(topics.subscriptions) if topics else None,
    }
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for key, value in rows.items():
        for number, part in enumerate(value if isinstance(value, list) else [value]):
            typer.echo(f"{key if number == 0 else '':<18}  {'-' if part is None else part}")


@app.command("test")
def try_(as_json: AsJson = False) -> None:
    """Connect, subscribe, publish and read back, naming each stage: DNS, TCP, TLS, auth, subscribe, publish.

    The test has a client id and a topic of its own, so a running gateway goes on. Exit 1 when a stage fails or proves nothing.
    """
    import asyncio

    from bms_iot.cli.log import configure
    from bms_iot.settings import load_settings

    settings = load_settings()
    configure(settings.log)
    stages = asyncio.run(_try(settings, as_json=as_json))
    if as_json:
        rows = [{key: getattr(stage, key) for key in ("name", "ok", "detail", "hint", "seconds")} for stage in stages]
        typer.echo(json.dumps({"ok": all(stage.ok for stage in stages), "stages": rows}, indent=2))
    if not all(stage.ok for stage in stages):
        raise typer.Exit(1)


@app.command("publish")
def publish(
    topic: Annotated[str, typer.Argument(help="The whole topic.")],
    payload: Annotated[str | None, typer.Argument(help="The payload; - or nothing for stdin.")] = None,
    retain: Annotated[bool, typer.Option("--retain", help="The broker keeps it; an empty payload takes it back.")] = False,
    as_json: AsJson = False,
) -> None:
    """Publish one message by hand, with QoS 1; done when the broker has acknowledged it."""
    import asyncio

    from bms_iot.cli.log import configure
    from bms_iot.settings import load_settings

    if not topic or any(character in topic for character in "+#\0"):
        raise typer.BadParameter("a topic to publish on has no + and no #", param_hint="TOPIC")
    content = sys.stdin.buffer.read() if payload in (None, "-") else payload.encode() if payload else b""
    if retain and content and topic.endswith("/request"):
        raise typer.BadParameter("a command must not be retained: it would be carried out again and again", param_hint="--retain")
    settings = load_settings()
    configure(settings.log)
    protocol = asyncio.run(_publish(settings, topic, content, retain))
    if as_json:
        typer.echo(json.dumps({"topic": topic, "bytes": len(content), "retain": retain, "protocol": protocol}))
    else:
        typer.echo(f"acknowledged: {len(content)} bytes on {topic} (MQTT {protocol})", err=True)


async def _try(settings: "Settings", *, as_json: bool) -> "list[Stage]":
    from bms_iot.mqtt.trial import Trial
    from bms_iot.mqtt.way import visitor_options
    from bms_iot.provisioning import known_deployment

    deployment = await known_deployment(settings)
    options = visitor_options(settings.mqtt, _visitor(settings, deployment, "test"))
    stages = []
    async for stage in Trial(options, settings.mqtt.protocol, _topics(deployment)).run():
        stages.append(stage)
        if not as_json:
            _print(stage)
    return stages


async def _publish(settings: "Settings", topic: str, payload: bytes, retain: bool) -> str:
    from bms_iot.errors import BrokerUnavailable
    from bms_iot.mqtt.client import SPOKEN
    from bms_iot.mqtt.trial import visit
    from bms_iot.mqtt.way import visitor_options
    from bms_iot.provisioning import known_deployment

    deployment = await known_deployment(settings)
    options = visitor_options(settings.mqtt, _visitor(settings, deployment, "publish"))
    try:
        async with visit(options, settings.mqtt.protocol) as connection:
            await connection.publish(topic, payload, retain=retain)
            return SPOKEN[connection.version]
    except BrokerUnavailable as error:
        raise BrokerUnavailable(str(error), hint="bms-iot mqtt test") from None


def _visitor(settings: "Settings", deployment: "Deployment | None", purpose: str) -> str:
    """A client id beside the gateway's, which stays connected."""
    return f"{settings.mqtt.client_id or (deployment.device_id if deployment else 'bms-iot')}-{purpose}"


def _topics(deployment: "Deployment | None") -> "Topics | None":
    from bms_iot.mqtt.topics import Topics

    if deployment is None:
        return None
    return Topics(organization_id=deployment.organization_id, site_id=deployment.site_id, iot_device_id=deployment.device_id)


def _print(stage: "Stage") -> None:
    word = {True: "ok", False: "FAILED", None: "unclear"}[stage.ok]
    head = f"{stage.name:<10} {word:<8}"
    typer.echo(textwrap.fill(stage.detail, WIDTH, initial_indent=head, subsequent_indent=" " * len(head)))
    if not stage.ok and stage.hint:
        typer.echo(textwrap.fill(f"next: {stage.hint}", WIDTH, initial_indent="  ", subsequent_indent="        "), err=True)


def _ask() -> dict[str, str]:
    """What a person answers; an empty answer leaves a setting as it is."""
    from bms_iot.settings import load_settings

    now = load_settings().mqtt
    host = str(typer.prompt("Host of the broker", default=now.host or None, err=True))
    tls = typer.confirm("TLS", default=now.uses_tls if now.host else True, err=True)
    port = typer.prompt("Port", default=now.port or (8883 if tls else 1883), type=int, err=True)
    values = {"mqtt.host": host, "mqtt.tls": _text(tls), "mqtt.port": str(port)}
    if username := str(typer.prompt("User name (empty for none)", default=now.username or "", err=True)):
        values["mqtt.username"] = username
    return values


def _password(*, username: str | None, from_stdin: bool) -> dict[str, str]:
    """The password of a user that is set now: asked for without showing it, or read from stdin."""
    if from_stdin:
        return {"mqtt.password": sys.stdin.readline().rstrip("\r\n")}
    if username is None:
        return {}
    if not sys.stdin.isatty():
        raise typer.BadParameter("a password is needed: --password-stdin reads it, where there is no terminal to ask on")
    return {"mqtt.password": str(typer.prompt("Password", hide_input=True, default="", show_default=False, err=True))}


def _save(values: dict[str, str]) -> None:
    from bms_iot.cli.settings_file import variable, write_settings

    path = write_settings(os.environ, values)
    typer.echo(f"set in {path}: {', '.join(values)}", err=True)
    for key in values:
        if variable(key) in os.environ:
            typer.echo(f"but the environment sets {key} too, and wins: {variable(key)}", err=True)
    typer.echo("a gateway that runs takes user and password when it next connects, the rest\nwhen it next starts", err=True)
    typer.echo("  next: bms-iot mqtt test", err=True)


def _file(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
