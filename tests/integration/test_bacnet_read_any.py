"""Any property of any object, as people and JSON have it."""

import pytest

from bms_iot.bacnet.identifiers import parse_object, parse_property
from bms_iot.bacnet.shown import to_shown
from bms_iot.bacnet.values.codec import (
    BitString,
    Constructed,
    ContextValue,
    Date,
    Double,
    Enumerated,
    ObjectId,
    RawValue,
    Time,
    Value,
)
from bms_iot.domain.identifiers import AnyValue
from bms_iot.domain.points import Device
from bms_iot.domain.readings import ReadingError
from bms_iot.errors import DeviceUnreachable
from tests.integration.bacnet_devices import INSTANCE, adversary, as_device, client_network
from tests.integration.bacnet_responder import free_port
from tests.integration.test_bacnet_writing import rusty


@pytest.mark.parametrize(
    ("where", "values", "value", "text"),
    [
        ("AI1 present-value", (21.700000762939453,), 21.7, "21.7"),
        ("AI1 present-value", (Double(0.1),), 0.1, "0.1"),
        ("AI1 present-value", (float("nan"),), "nan", "nan"),
        ("BI1 present-value", (Enumerated(1),), "active", "active"),
        ("BO1 priority-array", (None, Enumerated(0)), [None, "inactive"], "null, inactive"),
        ("MSI1 present-value", (3,), 3, "3"),
        ("AI1 units", (Enumerated(62),), "degrees-celsius", "degrees-celsius"),
        ("AI1 units", (Enumerated(1000),), "unit-1000", "unit-1000"),
        ("AI1 event-state", (Enumerated(3),), "high-limit", "high-limit"),
        ("AI1 event-state", (Enumerated(300),), 300, "300"),
        ("AI1 status-flags", (BitString((True, False, False, True)),), ["in-alarm", "out-of-service"], "in-alarm out-of-service"),
        ("AI1 status-flags", (BitString((False,) * 4),), [], "none"),
        ("AI1 event-enable", (BitString((True, False, True)),), "101", "101"),
        ("AI1 object-name", ("Zuluft °C",), "Zuluft °C", "Zuluft °C"),
        ("AI1 out-of-service", (False,), False, "false"),
        ("DEV1 object-list", (ObjectId(0, 1),), ["analog-input:1"], "analog-input:1"),
        ("DEV1 object-list[1]", (ObjectId(8, 1),), "device:1", "device:1"),
        ("DEV1 local-date", (Date(2026, 11, 22, 7),), "2026-11-22", "2026-11-22"),
        ("DEV1 local-time", (Time(8, 30, 0, 0),), "08:30:00.00", "08:30:00.00"),
        ("AI1 4000", (b"\x01\xff",), "01ff", "01ff"),
        ("AI1 4000", (RawValue(13, b"\x01"),), {"tag": 13, "octets": "01"}, "[13]01"),
        (
            "AI1 4000",
            (Constructed(0, (ContextValue(1, b"\x02"), 7)),),
            {"tag": 0, "items": [{"tag": 1, "octets": "02"}, 7]},
            "[0]{[1]02 7}",
        ),
        ("AI1 4000", (), [], ""),
    ],
)
def test_a_value_is_shown_by_its_tag_and_named_where_the_standard_has_a_name(
    where: str, values: tuple[Value, ...], value: object, text: str
) -> None:
    identifier, name = where.split()
    shown = to_shown(parse_object(identifier), parse_property(name), values)
    assert (shown.value, shown.text, shown.error) == (value, text, None)
    assert type(shown.value) is type(value)


async def read(device: Device, *wanted: str) -> list[AnyValue]:
    pairs = [(parse_object(each.split()[0]), parse_property(each.split()[1])) for each in wanted]
    async with client_network() as network:
        return await network.read_any(device, pairs)


async def test_an_array_that_does_not_fit_is_read_element_by_element() -> None:
    async with adversary(words="no-segmentation=50") as (_, device):
        (listed,) = await read(device, f"DEV{INSTANCE} object-list")
    assert isinstance(listed.value, list)
    assert listed.value[:2] == [f"device:{INSTANCE}", "analog-input:1"]
    assert len(listed.value) == 10


async def test_each_property_has_its_own_error() -> None:
    async with adversary() as (_, device):
        name, unknown, nobody = await read(device, "AI1 object-name", "AI1 4000", "SCH9 present-value")
    assert name.value == "device.AI"
    assert unknown.error == ReadingError(error_class="property", error_code="unknown-property")
    assert nobody.error == ReadingError(error_class="object", error_code="unknown-object")


async def test_who_is_at_an_address_is_read_without_who_is() -> None:
    async with rusty() as device, client_network() as network:
        assert await network.identify(device.address) == INSTANCE


async def test_who_does_not_say_who_it_is_or_nothing_at_all_is_not_made_up() -> None:
    async with adversary() as (_, device), client_network() as network:
        with pytest.raises(DeviceUnreachable, match="does not say which it is"):
            await network.identify(device.address)
        with pytest.raises(DeviceUnreachable, match="no answer"):
            await network.identify(as_device(("127.0.5.251", free_port())).address)
