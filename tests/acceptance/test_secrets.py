"""Planted secrets appear nowhere: not in a log, a payload, the database, an error, nor what a command prints."""

import asyncio
import signal
import sqlite3
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.site import Site, open_site
from tests.integration.mqtt_servers import soon

pytestmark = pytest.mark.system
PASSWORD, TOKEN, PROXY_PASSWORD = "canary-pw-0815", "canary-token-4711", "canary-proxy-1234"
CANARIES = (PASSWORD, TOKEN, PROXY_PASSWORD, "canary")


@asynccontextmanager
async def uploads(seen: list[str]) -> AsyncIterator[int]:
    """Takes the bearer token, and answers 401 with it in the body at first, then 204."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length"))
        await reader.readexactly(length)
        token = next(line.split()[-1] for line in head.splitlines() if line.lower().startswith("authorization"))
        seen.append(token)
        status = "401 Unauthorized" if len(seen) == 1 else "204 No Content"
        body = f"the token {token} is not valid".encode() if len(seen) == 1 else b""
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.timeout(150)
async def test_planted_secrets_appear_nowhere_but_where_they_were_put(tmp_path):
    passwords, secret, proxy_secret = tmp_path / "passwords", tmp_path / "mqtt-password", tmp_path / "proxy-password"
    made = await asyncio.create_subprocess_exec("mosquitto_passwd", "-b", "-c", passwords, "gateway", PASSWORD)
    assert await soon(made.wait()) == 0
    secret.write_text(f"{PASSWORD}\n")
    proxy_secret.write_text(PROXY_PASSWORD)
    settings = {"BMS_MQTT__USERNAME": "gateway", "BMS_MQTT__PASSWORD_FILE": str(secret)}
    options = ["allow_anonymous true", f"password_file {passwords}"]
    seen: list[str] = []
    said: list[str] = []
    async with uploads(seen) as port, open_site(tmp_path, settings=settings, broker_options=options) as site:
        await site.start()
        await site.until(lambda: bool(site.consumer.on("bulk")))
        await ask(site, port)
        assert set(seen) == {TOKEN}
        secret.write_text(f"{PASSWORD}-of-old\n")
        assert site.gateway is not None
        site.gateway.send_signal(signal.SIGHUP)
        await site.until(lambda: "ot authorized" in site.log.read_text() or "ot authorised" in site.log.read_text())
        said += await commands(site, proxy_secret)
        secret.write_text(f"{PASSWORD}\n")
        site.gateway.send_signal(signal.SIGHUP)
        await site.until(lambda: site.log.read_text().count('"mqtt_connected"') >= 2)
        assert await site.stop() == 0
        said += [site.log.read_text(), site.consumer.file.read_text()]
        held = [secret, proxy_secret, passwords]
        assert leaks(tmp_path, held) == []
        assert str(secret) in leaks(tmp_path, [])
    for text in said:
        assert not [canary for canary in CANARIES if canary in text]


async def ask(site: Site, port: int) -> None:
    """`get_config` with the token: refused by the server, taken, of a wrong form, and towards a place that may not be asked."""
    controllers = [{"ipAddress": "127.0.2.1", "controllerDeviceId": "2001", "id": "c", "port": site.building.port}]
    requests: list[tuple[str, dict[str, Any]]] = [
        ("u1", {"urlToUploadConfig": f"http://127.0.0.1:{port}/config"}),
        ("u2", {"urlToUploadConfig": f"http://127.0.0.1:{port}/config"}),
        ("u3", {"urlToUploadConfig": "ftp://example.invalid/"}),
        ("u4", {"urlToUploadConfig": f"https://user:{TOKEN}@example.invalid/"}),
        ("u5", {"urlToUploadConfig": f"http://127.0.0.1:{port}/config", "iotDeviceControllers": TOKEN}),
    ]
    for command_id, more in requests:
        body = {"jwtToken": TOKEN, "commandId": command_id, "iotDeviceControllers": controllers, **more}
        await site.send("get_config", body)
        await site.answer("get_config", command_id)


async def commands(site: Site, proxy_secret: Path) -> list[str]:
    """What the command line says of the settings, and of a connection that is refused."""
    said = []
    for line in ("config show", "config show --json", "mqtt show --json", "mqtt test", "commands list"):
        _, out, err = await site.command(*line.split())
        said += [out, err]
    site.settings |= {"BMS_MQTT__PROXY": "127.0.0.1:1", "BMS_MQTT__PROXY_USERNAME": "box"}
    site.settings["BMS_MQTT__PROXY_PASSWORD_FILE"] = str(proxy_secret)
    for line in ("mqtt test --json", "mqtt publish t x", "config show"):
        _, out, err = await site.command(*line.split())
        said += [out, err]
    return said


def leaks(directory: Path, held: list[Path]) -> list[str]:
    """Files below the directory that hold a secret, those left out that were made to; messages of the outbox are unpacked."""
    found = [
        str(file)
        for file in directory.rglob("*")
        if file.is_file() and file not in held and any(canary.encode() in file.read_bytes() for canary in CANARIES)
    ]
    with closing(sqlite3.connect(directory / "data" / "bms_bacnet.db")) as connection:
        for table, column in ((row[0], row[1]) for row in connection.execute(
            "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND c.type = 'BLOB'"
        )):  # fmt: skip
            for (blob,) in connection.execute(f"SELECT {column} FROM {table}"):
                unpacked = zlib.decompress(blob) if blob[:1] == b"x" else blob
                if any(canary.encode() in unpacked for canary in CANARIES):
                    found.append(f"{table}.{column}")
    return found
