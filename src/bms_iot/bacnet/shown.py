"""Any property of any object, for people and as JSON: values by their tag, enumerations by name where the standard has one."""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from bms_iot.bacnet.identifiers import object_text
from bms_iot.bacnet.network.npdu import Station
from bms_iot.bacnet.polling.convert import status_flags_of
from bms_iot.bacnet.polling.poller import TOO_LONG, Outcome, read_properties
from bms_iot.bacnet.polling.profile import Profile
from bms_iot.bacnet.services.reading import PropertyReference
from bms_iot.bacnet.transactions.client import Client
from bms_iot.bacnet.values import names
from bms_iot.bacnet.values.codec import (
    BitString,
    Constructed,
    ContextValue,
    Double,
    Enumerated,
    ObjectId,
    RawValue,
    Value,
)
from bms_iot.bacnet.values.text import number_text, plain_text
from bms_iot.domain.identifiers import AnyObject, AnyProperty, AnyValue
from bms_iot.domain.points import ObjectType, kebab_case
from bms_iot.domain.readings import ReadingError

PRESENT_VALUE, PRIORITY_ARRAY, RELINQUISH_DEFAULT, STATUS_FLAGS = 85, 87, 104, 111
MAX_ELEMENTS = 100_000

_ARRAYS = frozenset({3, 76, 87, 110, 123, 130, 351, 352, 371})
"""Properties whose value is a list, also when it has one element: object-list, priority-array, state-text,
weekly-schedule, event-time-stamps, event-message-texts, property-list."""

_SEGMENTATIONS: Mapping[int, str] = MappingProxyType(
    {0: "segmented-both", 1: "segmented-transmit", 2: "segmented-receive", 3: "no-segmentation"}
)
_SYSTEM_STATES: Mapping[int, str] = MappingProxyType(
    dict(
        enumerate(
            (
                "operational",
                "operational-read-only",
                "download-required",
                "download-in-progress",
                "non-operational",
                "backup-in-progress",
            )
        )
    )
)
_POLARITIES: Mapping[int, str] = MappingProxyType({0: "normal", 1: "reverse"})
_BINARY: Mapping[int, str] = MappingProxyType({0: "inactive", 1: "active"})
_TABLES: Mapping[int, Mapping[int, str]] = MappingProxyType(
    {
        36: names.EVENT_STATES,
        72: names.NOTIFY_TYPES,
        79: names.OBJECT_TYPES,
        84: _POLARITIES,
        103: names.RELIABILITIES,
        107: _SEGMENTATIONS,
        112: _SYSTEM_STATES,
        117: names.UNITS,
        371: names.PROPERTIES,
    }
)
"""What the enumerations of a property are called."""


async def read_any(
    client: Client,
    station: Station,
    profile: Profile,
    wanted: Sequence[tuple[AnyObject, AnyProperty]],
    now: Callable[[], datetime],
) -> list[AnyValue]:
    """Read properties of any type, one after the other; an array that cannot be had whole, element by element.

    Raises DeviceUnreachable when the device answers nothing, TransportError.
    """
    shown = []
    for identifier, prop in wanted:
        reference = PropertyReference(ObjectId(identifier.type, identifier.instance), prop.number, prop.index)
        outcome = (await read_properties(client, station, profile, [reference], now)).outcomes[reference]
        if isinstance(outcome, ReadingError) and outcome in TOO_LONG and prop.index is None:
            outcome = await _elements(client, station, profile, reference, now) or outcome
        shown.append(to_shown(identifier, prop, outcome))
        await asyncio.sleep(0)
    return shown


async def _elements(
    client: Client, station: Station, profile: Profile, whole: PropertyReference, now: Callable[[], datetime]
) -> Outcome | None:
    """An array by its elements; None for what is none, or has an element that cannot be read."""
    length = whole._replace(array_index=0)
    match (await read_properties(client, station, profile, [length], now)).outcomes[length]:
        case (int(count),) if 0 <= count <= MAX_ELEMENTS:
            references = [whole._replace(array_index=index) for index in range(1, count + 1)]
        case _:
            return None
    outcomes = (await read_properties(client, station, profile, references, now)).outcomes if references else {}
    values: list[Value] = []
    for reference in references:
        outcome = outcomes[reference]
        if not isinstance(outcome, tuple):
            return outcome
        values.extend(outcome)
    return tuple(values)


def to_shown(identifier: AnyObject, prop: AnyProperty, outcome: Outcome) -> AnyValue:
    """A property as people and JSON have it."""
    if isinstance(outcome, ReadingError):
        return AnyValue(identifier=identifier, property=prop, error=outcome)
    table = _table(identifier, prop)
    values = [_json(value, table, prop.number) for value in outcome]
    texts = [_text(value, table, prop.number) for value in outcome]
    is_list = prop.index is None and (len(values) != 1 or prop.number in _ARRAYS)
    return AnyValue(identifier=identifier, property=prop, value=values if is_list else values[0], text=", ".join(texts))


def _table(identifier: AnyObject, prop: AnyProperty) -> Mapping[int, str]:
    known = ObjectType.from_number(identifier.type)
    if prop.number in (PRESENT_VALUE, PRIORITY_ARRAY, RELINQUISH_DEFAULT) and known is not None and known.is_binary:
        return _BINARY
    return _TABLES.get(prop.number, MappingProxyType({}))


def _json(value: Value, table: Mapping[int, str], number: int) -> object:
    match value:
        case None | bool() | str():
            form: object = value
        case Enumerated():
            form = _name(value, table)
        case int():
            form = int(value)
        case float():
            form = _number(value)
        case BitString() if number == STATUS_FLAGS:
            form = [flag.value for flag in status_flags_of(value)]
        case Constructed(tag=tag, items=items):
            form = {"tag": tag, "items": [_json(item, table, number) for item in items]}
        case ContextValue(tag=tag, octets=octets) | RawValue(tag=tag, octets=octets):
            form = {"tag": tag, "octets": octets.hex()}
        case _:
            form = _text(value, table, number)
    return form


def _text(value: Value, table: Mapping[int, str], number: int) -> str:
    match value:
        case None:
            text = "null"
        case Enumerated():
            text = str(_name(value, table))
        case ObjectId(type=object_type, instance=instance):
            text = object_text(AnyObject(type=object_type, instance=instance))
        case BitString() if number == STATUS_FLAGS:
            text = " ".join(flag.value for flag in status_flags_of(value)) or "none"
        case ContextValue(tag=tag, octets=octets) | RawValue(tag=tag, octets=octets):
            text = f"[{tag}]{octets.hex()}"
        case Constructed(tag=tag, items=items):
            text = f"[{tag}]{{{' '.join(_text(item, table, number) for item in items)}}}"
        case _:
            text = plain_text(value)
    return text


def _name(value: int, table: Mapping[int, str]) -> str | int:
    if table is names.UNITS:
        return kebab_case(names.unit_name(value))
    name = table.get(value)
    return int(value) if name is None else kebab_case(name)


def _number(value: float) -> object:
    """A float as the shortest decimal of its precision; a text for what JSON has no number for."""
    if not math.isfinite(value):
        return number_text(value)
    return float(value) if isinstance(value, Double) else float(number_text(value))
