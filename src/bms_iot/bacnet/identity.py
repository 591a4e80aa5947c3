"""Who answers at an address: the object-identifier of its Device object (ASHRAE 135 clause 12.11)."""

from bms_iot.bacnet.apdu import ComplexAck, Error
from bms_iot.bacnet.network.npdu import Station
from bms_iot.bacnet.services.reading import PropertyReference, decode_read_property_ack, encode_read_property
from bms_iot.bacnet.services.who_is import DEVICE_OBJECT, WILDCARD_INSTANCE
from bms_iot.bacnet.transactions.client import Client
from bms_iot.bacnet.values.codec import DecodeError, ObjectId
from bms_iot.errors import DeviceUnreachable, MalformedReply, WrongDevice

OBJECT_IDENTIFIER = 75
UNKNOWN_OBJECT = 31


async def prove(client: Client, station: Station, instance: int, *, tries: int | None = None) -> None:
    """Ask `station` for the Device object of `instance`: one request where it has it. `tries` is the client's by default.

    Any other answer than its own identifier or unknown-object proves that somebody is there, and is believed.
    Raises WrongDevice, naming who it is where it says so, DeviceUnreachable, TransportError.
    """
    found = await _ask(client, station, instance, tries)
    if found is None:
        found = await _who(client, station)
    if found == instance:
        return
    who = f"device {found}" if found is not None else "another device"
    raise WrongDevice(f"{who} answers at {station} in place of device {instance}", instance=found)


async def identify(client: Client, station: Station) -> int:
    """The instance of the device at `station`, by reading alone. Raises DeviceUnreachable, TransportError."""
    found = await _ask(client, station, WILDCARD_INSTANCE, None)
    if found is None or found == WILDCARD_INSTANCE:
        raise DeviceUnreachable(f"the device at {station} does not say which it is", hint="name it by its device instance")
    return found


async def _ask(client: Client, station: Station, instance: int, tries: int | None) -> int | None:
    """The instance that the Device object of `instance` has; None where there is no such object."""
    reference = PropertyReference(ObjectId(DEVICE_OBJECT, instance), OBJECT_IDENTIFIER)
    try:
        answer = await client.transact(station, encode_read_property(reference), tries=tries)
        if isinstance(answer, Error) and answer.error.error_code == UNKNOWN_OBJECT:
            return None
        if isinstance(answer, ComplexAck):
            match decode_read_property_ack(answer.parameters).outcome:
                case (ObjectId(type=number, instance=found),) if number == DEVICE_OBJECT:
                    return found
    except (MalformedReply, DecodeError):
        pass  # somebody who answers so to this is asked for values, and what is wrong with those is said there
    return instance


async def _who(client: Client, station: Station) -> int | None:
    """Who `station` is by the instance that stands for any (clause 15.5.2)."""
    try:
        found = await _ask(client, station, WILDCARD_INSTANCE, 1)
    except DeviceUnreachable:
        return None
    return None if found == WILDCARD_INSTANCE else found
