"""`bms-iot points`."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from bms_iot.cli.root import app
from bms_iot.domain.configuration import ConfiguredDevice, ConfiguredObject
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, ObjectType
from bms_iot.errors import InvalidInput
from bms_iot.gateway.monitor import keep_configuration
from bms_iot.storage.database import open_database
from tests.databases import make_database

NAMES = ("Supply air temperature of the air handling unit on the roof of the north building", "Return temp")


def device(instance: int) -> ConfiguredDevice:
    return ConfiguredDevice(
        device=Device(address=DeviceAddress(host="10.0.0.5"), instance=instance, controller_id=f"ahu-{instance}"),
        objects=tuple(
            ConfiguredObject(
                object=ObjectIdentifier(type=object_type, instance=number),
                iot_device_point_id=None,
                properties={"objectName": name, "units": "degreesCelsius"},
            )
            for object_type in (ObjectType.ANALOG_INPUT, ObjectType.MULTI_STATE_VALUE)
            for number, name in enumerate(NAMES, start=1)
        ),
    )


@pytest.fixture
def bms(tmp_path, monkeypatch):
    """Runs `bms-iot points`: exit code and lines of stdout."""

    async def configure():
        async with open_database(make_database(tmp_path)) as database:
            await database.write(keep_configuration, [device(1200), device(1201)], datetime.now(UTC))

    asyncio.run(configure())
    monkeypatch.setenv("BMS_DATA_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments, **environment):
        result = CliRunner().invoke(app, ["points", *arguments], env=environment)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout.splitlines()

    return run


def chosen(lines):
    return {(point["device_instance"], point["type"], point["class"], point["chosen_by"]) for point in map(json.loads, lines)}


def test_the_first_rule_of_the_settings_that_fits_chooses(bms):
    rules = "slow 1201,fast */AI/supply*"
    code, lines = bms("list", "*/analog-input", "--json", BMS_POLLING__CLASSES=rules)
    assert code == 0
    assert chosen(lines) == {
        (1200, "analogInput", "fast", "settings"),
        (1200, "analogInput", "normal", "default"),
        (1201, "analogInput", "slow", "settings"),
    }


def test_a_class_chosen_on_site_outweighs_the_settings_until_it_is_taken_back(bms):
    rules = {"BMS_POLLING__CLASSES": "slow *"}
    assert bms("set", "1200/AI1", "--class", "fast", **rules)[0] == 0
    code, lines = bms("show", "1200/analogInput 1", "--json", **rules)
    assert (code, chosen(lines)) == (0, {(1200, "analogInput", "fast", "points set")})
    point = json.loads(lines[0])
    assert chosen(bms("show", point["iot_device_point_id"], "--json", **rules)[1]) == chosen(lines)

    assert bms("set", "1200", "--class", "default", **rules)[0] == 0
    assert {entry[2:] for entry in chosen(bms("list", "--json", **rules)[1])} == {("slow", "settings")}


def test_a_pattern_sets_the_class_of_every_point_it_fits(bms):
    code, lines = bms("set", "12*/msv/return*", "--class", "slow", "--json")
    assert code == 0
    assert [(point["device_instance"], point["name"]) for point in map(json.loads, lines)] == [
        (n, "Return temp") for n in (1200, 1201)
    ]


@pytest.mark.parametrize("arguments", [["list"], ["show", "*"], ["set", "*", "--class", "fast"]])
def test_what_is_printed_on_a_terminal_fits_80_columns(bms, arguments, monkeypatch):
    monkeypatch.setattr("typer.testing._NamedTextIOWrapper.isatty", lambda _: True)

    code, lines = bms(*arguments)
    assert (code, len(lines) >= 8) == (0, True)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("which", ["no-such-point", "1200/AI77", "1200/loop/x", "1200//"])
def test_what_means_no_point_is_refused(bms, which):
    with pytest.raises(InvalidInput):
        bms("show", which)


def test_what_is_no_class_is_wrong_use(bms):
    assert bms("set", "*", "--class", "quick") == (2, [])
