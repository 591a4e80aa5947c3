"""`bms-iot bacnet drift`, beside simulated devices that answer on the loopback."""

import asyncio
import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from bms_iot.simulator import SimulatedBuilding

WAIT = ("--wait", "0.6")


class Site:
    """A building, and the command line beside it with a database of its own."""

    def __init__(self, building: SimulatedBuilding, directory: Path) -> None:
        self.building, self.directory = building, directory

    async def bms(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BMS_", "MQTT_", "XDG_"))}
        own = {
            "HOME": str(self.directory),
            "BMS_DATA_DIRECTORY": str(self.directory),
            "BMS_BACNET__ADDRESS": "127.0.0.1",
            "BMS_BACNET__PORT": str(self.building.port),
            "BMS_BACNET__BROADCAST": self.building.broadcast,
            "BMS_BACNET__TIMEOUT_SECONDS": "0.5",
            "COLUMNS": "80",
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bms_iot", *arguments, env={**inherited, **own, **environment}, cwd=self.directory,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode is not None
        assert "Traceback" not in err.decode()
        return process.returncode, out.decode(), err.decode()

    def configuration(self, change):
        """Change what the gateway knows, behind its back."""
        with closing(sqlite3.connect(self.directory / "bms_bacnet.db")) as connection, connection:
            row, text = connection.execute("SELECT id, bacnet_devices FROM bacnet_config ORDER BY id DESC LIMIT 1").fetchone()
            devices = json.loads(text)
            change(devices)
            connection.execute("UPDATE bacnet_config SET bacnet_devices = ? WHERE id = ?", (json.dumps(devices), row))

    def dump(self):
        with closing(sqlite3.connect(self.directory / "bms_bacnet.db")) as connection:
            return list(connection.iterdump())


@pytest.fixture
async def site(tmp_path):
    async with SimulatedBuilding(port=0, devices=3, points=9, tick_seconds=None) as building:
        site = Site(building, tmp_path)
        assert (await site.bms("db", "upgrade"))[0] == 0
        assert (await site.bms("bacnet", "discover", "--save", *WAIT))[0] == 0
        yield site


async def test_drift_says_what_is_different_and_changes_nothing(site):
    def differ(devices):
        moved, changed, silent = devices
        moved["controller_ip_address"] = "127.0.77.77"
        silent["device_id"] = 999
        changed["object_list"][0]["properties"]["objectName"] = "As it was called before somebody renamed it, at some length"
        changed["object_list"].append({"type": "multiStateOutput", "point_id": 4711, "iot_device_point_id": "k", "properties": {}})
        del changed["object_list"][1]

    assert (await site.bms("bacnet", "drift", *WAIT))[:2] == (0, "")
    first, second, third = site.building.devices
    site.configuration(differ)
    before = site.dump()

    code, out, err = await site.bms("bacnet", "drift", *WAIT)
    assert code == 3
    assert max(map(len, out.splitlines())) <= 80
    assert "3 known devices compared" in err
    assert f"127.0.77.77:{site.building.port}" in out

    code, out, _ = await site.bms("bacnet", "drift", "--json", *WAIT)
    report = json.loads(out)
    assert code == 3
    assert site.dump() == before
    found = {(entry["kind"], entry["device_instance"], entry.get("object")) for entry in report["drift"]}
    replaced = second.objects[1]
    assert found == {
        ("moved", first.instance, None),
        ("missing", 999, None),
        ("id-conflict", 999, None),
        ("new", third.instance, None),
        ("renamed", second.instance, f"{second.objects[0].type.value}:{second.objects[0].instance}"),
        ("new", second.instance, f"{replaced.type.value}:{replaced.instance}"),
        ("missing", second.instance, "multiStateOutput:4711"),
    }
    assert report["counts"]["new"] == 2
