"""Notifications of a change of value: whose they are, and what they say (ASHRAE 135 clauses 13.1, 13.6 and 13.7)."""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Protocol

from bms_iot.bacnet.apdu import ConfirmedRequest, PropertyError, UnconfirmedRequest, encode_error, encode_simple_ack
from bms_iot.bacnet.network.npdu import Station
from bms_iot.bacnet.polling.convert import NO_FAULT, PRESENT_VALUE, STATUS_FLAGS, present_value, status_flags_of, to_reading
from bms_iot.bacnet.services.cov import (
    CONFIRMED_COV_NOTIFICATION,
    UNCONFIRMED_COV_NOTIFICATION,
    Notification,
    decode_notification,
)
from bms_iot.bacnet.services.reading import PropertyReference, PropertyValues
from bms_iot.bacnet.services.who_is import I_AM, decode_i_am
from bms_iot.bacnet.transactions.client import Client
from bms_iot.bacnet.values.codec import BitString, DecodeError, ObjectId, Value
from bms_iot.domain.points import Point
from bms_iot.domain.readings import Condition, Quality, Reading, ReadingError, StatusFlag
from bms_iot.errors import TransportError

MAX_PROCESS_IDS = 8
UNKNOWN_SUBSCRIPTION = PropertyError(5, 79)
"""Class services, code unknown-subscription: the device may forget it."""
INVALID_TAG = 4
REJECT_PDU = 0x60
USUAL_PROPERTIES = 2
"""Present-value and status-flags (clause 13.1, table 13-1)."""
NO_FLAGS: PropertyValues = ()


class Follower(Protocol):
    """Who follows the changes of one device."""

    @property
    def device_instance(self) -> int: ...

    def notified(self, notification: Notification) -> bool:
        """Take a notification; whether it is of an object that is followed."""
        ...

    def introduced(self) -> None:
        """The device said I-Am: it may have been restarted."""
        ...


class Notifications:
    """Hands every notification to who follows its device, and answers the confirmed ones.

    Subscriptions to one device by different followers are told apart by the process id, always the lowest that is free: a restarted
    gateway takes over its old subscriptions instead of adding to them.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._followers: dict[Station, dict[int, Follower]] = {}
        client.listen(self._hear)
        client.answer(CONFIRMED_COV_NOTIFICATION, self._answer)

    def attach(self, station: Station, follower: Follower) -> int:
        """The process id under which `follower` subscribes. Raises TransportError when too many follow that station."""
        followers = self._followers.setdefault(station, {})
        free = next((number for number in range(1, MAX_PROCESS_IDS + 1) if number not in followers), None)
        if free is None:
            raise TransportError(f"{station} is followed {MAX_PROCESS_IDS} times already")
        followers[free] = follower
        return free

    def detach(self, station: Station, process_id: int) -> None:
        """Nobody follows under that process id any more."""
        followers = self._followers.get(station, {})
        followers.pop(process_id, None)
        if not followers:
            self._followers.pop(station, None)

    def _hear(self, station: Station, request: UnconfirmedRequest) -> None:
        if request.service == UNCONFIRMED_COV_NOTIFICATION:
            try:
                self._take(station, decode_notification(request.parameters))
            except DecodeError:
                self._client.counters.malformed += 1
        elif request.service == I_AM and station in self._followers:
            self._introduced(station, request.parameters)

    def _introduced(self, station: Station, parameters: bytes) -> None:
        try:
            instance = decode_i_am(parameters).instance
        except DecodeError:  # counted by discovery, which hears it as well
            return
        for follower in self._followers[station].values():
            if follower.device_instance == instance:
                follower.introduced()

    def _answer(self, station: Station, request: ConfirmedRequest) -> bytes:
        try:
            is_known = self._take(station, decode_notification(request.parameters))
        except DecodeError:
            self._client.counters.malformed += 1
            return bytes((REJECT_PDU, request.invoke_id, INVALID_TAG))
        return encode_simple_ack(request) if is_known else encode_error(request, UNKNOWN_SUBSCRIPTION)

    def _take(self, station: Station, notification: Notification) -> bool:
        counters = self._client.counters
        counters.notifications += 1
        follower = self._followers.get(station, {}).get(notification.process_id)
        if follower is None or follower.device_instance != notification.device_instance or not follower.notified(notification):
            counters.notifications_unknown += 1
            return False
        return True


def to_change(point: Point, values: Mapping[PropertyReference, PropertyValues], acquired_at: datetime) -> Reading | None:
    """The reading that a notification is; None when it says nothing of the present-value.

    Where status-flags has in-alarm, fault or out-of-service clear, event-state is normal, reliability no-fault-detected and
    out-of-service false (clause 12.1); where they are set, what the notification does not say is unknown.
    """
    identifier = ObjectId(point.object.type.number, point.object.instance)
    outcome = values.get(PropertyReference(identifier, PRESENT_VALUE))
    if outcome is None:
        return None
    if len(values) > USUAL_PROPERTIES:  # those of other than the usual objects, or of SubscribeCOVProperty
        return to_reading(point, values, acquired_at, optional=False)
    text, quality, error = present_value(point.object.type, outcome)
    bits = values.get(PropertyReference(identifier, STATUS_FLAGS), NO_FLAGS)
    condition = _condition(quality, error, bits[0] if len(bits) == 1 else None)
    return Reading.of(point.id, acquired_at, text, condition)


@lru_cache(maxsize=1024)
def _condition(quality: Quality, error: ReadingError | None, bits: Value) -> Condition:
    flags = status_flags_of(bits)
    is_known = isinstance(bits, BitString) and len(bits) == len(StatusFlag)
    if quality is Quality.GOOD and StatusFlag.FAULT in flags:
        quality = Quality.UNCERTAIN
    return Condition(
        quality=quality,
        status_flags=flags,
        event_state="normal" if is_known and StatusFlag.IN_ALARM not in flags else None,
        out_of_service=StatusFlag.OUT_OF_SERVICE in flags if is_known else None,
        reliability=NO_FAULT if is_known and StatusFlag.FAULT not in flags else None,
        error=error,
    )
