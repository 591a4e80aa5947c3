"""Who is there, and what they have: Who-Is and I-Am (ASHRAE 135 clause 16.10), object lists (clause 12.11), names and units."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

import structlog

from bms_iot.bacnet.apdu import UnconfirmedRequest
from bms_iot.bacnet.network.addresses import address_of, is_broadcast
from bms_iot.bacnet.network.npdu import Station
from bms_iot.bacnet.polling.poller import Outcome, read_properties
from bms_iot.bacnet.polling.profile import OBJECT_LIST, OBJECT_NAME, Profile, Profiles
from bms_iot.bacnet.services.reading import PropertyReference, PropertyValues, decode_read_property_ack, encode_read_property
from bms_iot.bacnet.services.who_is import DEVICE_OBJECT, I_AM, SEGMENTATION, WILDCARD_INSTANCE, IAm, decode_i_am, encode_who_is
from bms_iot.bacnet.transactions.client import Client
from bms_iot.bacnet.values import names
from bms_iot.bacnet.values.codec import DecodeError, ObjectId
from bms_iot.domain.points import ObjectIdentifier, ObjectType
from bms_iot.domain.ports import FoundDevice, ObjectDescription, ObjectList
from bms_iot.errors import DeviceRefused, DeviceUnreachable, MalformedReply

log = structlog.get_logger()

MAX_FOUND = 20_000
MAX_OBJECTS = 100_000
DESCRIPTION, UNITS = 28, 117


async def who_is(
    client: Client, profiles: Profiles, *, low: int | None, high: int | None, station: Station | None, wait_seconds: float
) -> list[FoundDevice]:
    """Ask everybody, or `station` alone, which may be all stations of a network; ordered by instance, then address.

    One `station` asked for one instance ends the waiting by its answer. Two stations with one instance are both found.
    Raises TransportError when there is no broadcast address or it cannot be sent to.
    """
    found: dict[tuple[Station, int], IAm] = {}
    answered = asyncio.Event()
    single = station is not None and not is_broadcast(station) and low is not None and low == high

    def hear(source: Station, request: UnconfirmedRequest) -> None:
        i_am = _i_am(client, request)
        if i_am is None or not _within(i_am.instance, low, high) or not _is_from(client, source, station):
            return
        if len(found) >= MAX_FOUND and (source, i_am.instance) not in found:
            if not client.counters.i_am_passed_over:
                log.warning("too_many_i_am", found=len(found), address=str(source))
            client.counters.i_am_passed_over += 1
            return
        found[source, i_am.instance] = i_am
        if single:
            answered.set()

    silence = client.listen(hear)
    try:
        request = encode_who_is(low, high)
        for _ in range(2):  # a datagram may get lost: asked again halfway when nobody answered
            if not found:
                client.send_unconfirmed(request, station)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds / 2):
                    await answered.wait()
    finally:
        silence()
    now = asyncio.get_running_loop().time()
    for (source, _), i_am in found.items():
        profiles.of(source, now).introduce(i_am)
    return [_found(source, i_am) for (source, _), i_am in sorted(found.items(), key=lambda item: (item[0][1], item[0][0]))]


def _within(instance: int, low: int | None, high: int | None) -> bool:
    return (low is None or instance >= low) and (high is None or instance <= high)


def _is_from(client: Client, source: Station, asked: Station | None) -> bool:
    """Whether `source` is `asked`, belongs to the network that was asked, or stands behind the router that was."""
    if asked is None or source == asked:
        return True
    if is_broadcast(asked):
        return source.network == asked.network
    route = client.routers.route(source.network) if source.network and not asked.network else None
    return route is not None and (route.host, route.port) == asked[:2]


def introduce_heard(client: Client, profiles: Profiles) -> Callable[[], None]:
    """Keep the profiles of known devices up to date with every I-Am; the result stops it."""

    def hear(source: Station, request: UnconfirmedRequest) -> None:
        if (i_am := _i_am(client, request)) is not None:
            profiles.introduce(source, i_am)

    return client.listen(hear)


def hear(client: Client, listener: Callable[[FoundDevice], None]) -> Callable[[], None]:
    """Tell `listener` every I-Am; the result stops it."""

    def tell(source: Station, request: UnconfirmedRequest) -> None:
        if (i_am := _i_am(client, request)) is not None:
            listener(_found(source, i_am))

    return client.listen(tell)


def _i_am(client: Client, request: UnconfirmedRequest) -> IAm | None:
    if request.service != I_AM:
        return None
    try:
        return decode_i_am(request.parameters)
    except DecodeError:
        client.counters.malformed += 1
        return None


def _found(source: Station, i_am: IAm) -> FoundDevice:
    return FoundDevice(
        address=address_of(source),
        instance=i_am.instance,
        vendor_id=i_am.vendor_id,
        max_apdu=i_am.max_apdu,
        segmentation=SEGMENTATION[i_am.segmentation] if i_am.segmentation < len(SEGMENTATION) else "none",
    )


async def read_object_list(
    client: Client, station: Station, profile: Profile, instance: int, now: Callable[[], datetime]
) -> ObjectList:
    """The object list of the device, at once where it can, index by index where it cannot, checked against its length.

    Raises DeviceUnreachable, DeviceRefused, MalformedReply.
    """
    device = ObjectId(DEVICE_OBJECT, instance)
    whole: tuple[ObjectId, ...] = ()
    problem: Exception | None = None
    if profile.is_list_by_index:
        problem = MalformedReply(f"{station} does not say how long its object list is")
    else:
        try:
            whole = _identifiers(await _read_one(client, station, PropertyReference(device, OBJECT_LIST)))
        except (DeviceRefused, MalformedReply, DeviceUnreachable) as error:
            problem = error
    length = await _length(client, station, device, problem)
    if not isinstance(problem, DeviceUnreachable):  # silence may have been a datagram lost
        profile.is_list_by_index = problem is not None
    if length is None:
        return _object_list(whole, complete=True)
    missing = [PropertyReference(device, OBJECT_LIST, index) for index in range(len(whole) + 1, min(length, MAX_OBJECTS) + 1)]
    answers = await read_properties(client, station, profile, missing, now) if missing else None
    rest: list[ObjectId] = []
    for reference in missing:
        outcome = answers.outcomes[reference] if answers is not None else ()
        rest.extend(_identifiers(outcome) if isinstance(outcome, tuple) else ())
    return _object_list(tuple(dict.fromkeys((*whole, *rest))), complete=len(whole) + len(rest) >= length)


async def _length(client: Client, station: Station, device: ObjectId, problem: Exception | None) -> int | None:
    """How many objects there are by the device's own count; None when it does not say but gave the whole list.

    `problem` is why it did not give the list; raised when it does not say how long it is either.
    """
    tries = 1 if isinstance(problem, DeviceUnreachable) else None
    try:
        values = await _read_one(client, station, PropertyReference(device, OBJECT_LIST, 0), tries=tries)
    except (DeviceRefused, MalformedReply, DeviceUnreachable):
        values = ()
    match values:
        case (int(length),):
            return length
    if problem is not None:
        raise problem
    return None


async def _read_one(client: Client, station: Station, reference: PropertyReference, *, tries: int | None = None) -> PropertyValues:
    parameters = await client.request(station, encode_read_property(reference), tries=tries, segmented=True)
    try:
        result = decode_read_property_ack(parameters)
    except DecodeError as error:
        client.counters.malformed += 1
        raise MalformedReply(f"{station} answered with something undecodable: {error}") from error
    if result.reference != reference or not isinstance(result.outcome, tuple):
        raise MalformedReply(f"{station} answered with another property than was asked for")
    return result.outcome


def _identifiers(values: PropertyValues) -> tuple[ObjectId, ...]:
    return tuple(value for value in values if isinstance(value, ObjectId))


def _object_list(identifiers: Sequence[ObjectId], *, complete: bool) -> ObjectList:
    objects = tuple(
        ObjectIdentifier(type=object_type, instance=identifier.instance)
        for identifier in identifiers
        if (object_type := ObjectType.from_number(identifier.type)) is not None
    )
    return ObjectList(objects=objects, other=len(identifiers) - len(objects), complete=complete)


async def describe_objects(
    client: Client, station: Station, profile: Profile, objects: Sequence[ObjectIdentifier], now: Callable[[], datetime]
) -> list[ObjectDescription]:
    """Names, descriptions and, of analog objects, units. Raises DeviceUnreachable."""
    references = [
        PropertyReference(ObjectId(wanted.type.number, wanted.instance), number)
        for wanted in objects
        if 0 <= wanted.instance <= WILDCARD_INSTANCE
        for number in (OBJECT_NAME, DESCRIPTION, UNITS)
        if number != UNITS or wanted.type.is_analog
    ]
    outcomes = (await read_properties(client, station, profile, references, now)).outcomes
    return [_description(wanted, outcomes) for wanted in objects]


def _description(wanted: ObjectIdentifier, outcomes: dict[PropertyReference, Outcome]) -> ObjectDescription:
    identifier = ObjectId(wanted.type.number, wanted.instance)

    def outcome(number: int) -> Outcome:
        return outcomes.get(PropertyReference(identifier, number), ())

    units: str | None = None
    match outcome(UNITS):
        case (int() as number,) if not isinstance(number, bool):
            units = names.unit_name(number)
    return ObjectDescription(object=wanted, name=_text(outcome(OBJECT_NAME)), description=_text(outcome(DESCRIPTION)), units=units)


def _text(outcome: Outcome) -> str | None:
    """A text without NUL, which databases refuse; None for an empty one."""
    match outcome:
        case (str(text),):
            return text.replace("\0", "") or None
    return None
