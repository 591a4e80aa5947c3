"""Commands for a gateway under test, what it leaves in its journal, and devices that answer writes as told."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from bms_iot.domain.points import Device, ObjectType
from bms_iot.domain.ports import Message
from bms_iot.domain.writing import PointWrite, WriteOutcome
from bms_iot.gateway.execute import Execute
from bms_iot.sections import WritesSettings
from bms_iot.storage import commands, leases
from bms_iot.storage.commands import Arrival
from bms_iot.storage.database import Database
from bms_iot.storage.leases import Lease
from tests.clock import VirtualClock
from tests.fakes import FakeNetwork
from tests.integration.gateways import BASE, Running, configured

AI, AO, AV, BO, MO = (
    ObjectType.ANALOG_INPUT, ObjectType.ANALOG_OUTPUT, ObjectType.ANALOG_VALUE, ObjectType.BINARY_OUTPUT,
    ObjectType.MULTI_STATE_OUTPUT,
)  # fmt: skip
DEVICES = [configured(7, (AI, 1), (AO, 1), (BO, 1), (MO, 1))]
ON = WritesSettings(enabled=True)


def rows(tmp_path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(tmp_path / "bms_bacnet.db")) as connection:
        return connection.execute(query).fetchall()


def key(tmp_path: Path, name: str = "ANALOG_OUTPUT") -> str:
    (found,) = rows(tmp_path, f"SELECT iot_device_point_id FROM controller_points WHERE bacnet_object_type = '{name}'")
    return str(found[0])


def request(name: str, body: object, *, retain: bool = False, cut_from: int = 0) -> Message:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Message(topic=f"{BASE}/command/{name}/request", payload=payload, retain=retain, mid=1, cut_from=cut_from)


def send(running: Running, name: str, body: object, **more: Any) -> Message:
    message = request(name, body, **more)
    running.broker.incoming.put_nowait(message)
    return message


def answers(running: Running, name: str) -> list[dict[str, Any]]:
    return running.on(f"command/{name}/response")


async def answer(running: Running, name: str, body: object, **more: Any) -> dict[str, Any]:
    before = len(answers(running, name))
    send(running, name, body, **more)
    await running.until(lambda: len(answers(running, name)) > before)
    return answers(running, name)[before]


def set_value(tmp_path: Path, command_id: str = "c", value: object = 50.0, **more: Any) -> dict[str, Any]:
    return {"commandId": command_id, "iotDevicePointId": key(tmp_path), "presentValue": value, **more}


def lanes_of(execute_verb: Execute) -> Any:
    return execute_verb._obey._lanes


class Scripted(FakeNetwork):
    """Answers writes as told."""

    outcome: dict[str, Any]
    raises: Exception | None = None

    async def write_points(self, device: Device, writes: Sequence[PointWrite]) -> list[WriteOutcome]:
        self.writes.extend(writes)
        if self.raises is not None:
            raise self.raises
        return [WriteOutcome(write=writes[0], **self.outcome)]


def script(running: Running, raises: Exception | None = None, **outcome: Any) -> None:
    running.network.__class__ = Scripted
    scripted: Any = running.network
    scripted.outcome, scripted.raises = outcome, raises


async def leave(database: Database, *, name: str, step: str, point: str | None = None, lease: bool = False) -> None:
    """What a gateway that was killed at `step` (received, started, written) leaves in the journal."""
    now = VirtualClock().now()

    async def journal(connection: AsyncConnection) -> None:
        request = {"presentValue": 50.0}
        arrival = Arrival(name=name, command_id="c", boot=1, request=request, iot_device_point_id=point)
        entry, _ = await commands.receive(connection, arrival, now)
        if step != "received":
            planned = {**request, "write": {"value": 50.0, "priority": 9}}
            await commands.start(connection, entry.id, now, request=planned, writes=step == "written")
        if lease:
            assert point is not None
            await leases.grant(connection, a_lease(point))

    await database.write(journal)


def a_lease(point: str, **changes: Any) -> Lease:
    values = {"priority": 9, "command_id": "c", "boot": 1, "value": "50.0", "seconds": 20.0, "granted_at": VirtualClock().now()}
    return Lease(iot_device_point_id=point, **{**values, **changes})
