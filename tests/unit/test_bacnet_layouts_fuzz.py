"""A reply taken by a learned layout says what the general decoder says of it, whatever is wrong with it."""

from random import Random

from bms_iot.bacnet.polling.convert import state_of
from bms_iot.bacnet.polling.layouts import Layouts
from bms_iot.bacnet.polling.meanings import Meanings
from bms_iot.bacnet.polling.plans import Chunk, Plan, prepare
from bms_iot.bacnet.polling.poller import outcome_of
from bms_iot.bacnet.polling.profile import Profile
from bms_iot.bacnet.services.reading import decode_read_property_multiple_ack
from bms_iot.bacnet.values.codec import DecodeError, ObjectId
from bms_iot.domain.points import Device, DeviceAddress, ObjectIdentifier, ObjectType, Point
from tests.chances import at_level, seeded
from tests.mutations import Mutator
from tests.odd_values import PRESENT_VALUES

REPLIES = at_level(change=20_000, nightly=500_000, release=5_000_000)
TYPES = tuple(ObjectType)
HEADER = b"\x81\x0a\x00\x00"


def plan_of(count: int) -> Plan:
    device = Device(address=DeviceAddress(host="127.0.0.1"), instance=1, controller_id="controller")
    points = tuple(
        Point(
            id=place,
            device=device,
            object=ObjectIdentifier(type=TYPES[place % len(TYPES)], instance=1 + place),
            iot_device_point_id=str(place),
        )
        for place in range(count)
    )
    plan = prepare(points, Profile())
    assert plan is not None
    return plan


def reply_to(chunk: Chunk, chance: Random) -> bytes:
    """A right reply with present-values of all kinds, of which most are usual."""
    octets = b""
    for identifier, (number, properties) in zip(chunk.identifiers, chunk.shape, strict=True):
        usual = b"\x44" + chance.randbytes(4) if number in (0, 1, 2) else b"\x91" + bytes((chance.randrange(3),))
        values = {
            85: chance.choice(PRESENT_VALUES).octets if chance.random() < 0.1 else usual,
            111: b"\x82\x04" + bytes((chance.choice((0x00, 0x40, 0xF0)),)),
            36: b"\x91" + bytes((chance.randrange(5),)),
            81: chance.choice((b"\x10", b"\x11")),
            103: b"\x91" + bytes((chance.randrange(8),)),
        }
        octets += b"\x0c" + identifier + b"\x1e"
        for each in properties:
            octets += b"\x29" + bytes((each,))
            octets += b"\x5e\x91\x02\x91\x1b\x5f" if chance.random() < 0.01 else b"\x4e" + values[each] + b"\x4f"
        octets += b"\x1f"
    return octets


def test_what_a_layout_takes_is_what_the_general_decoder_says() -> None:
    chance = seeded("layouts")
    mutator, layouts, meanings = Mutator(chance), Layouts(), Meanings()
    plans = [plan_of(count) for count in (1, 2, 5, 18, 30)]
    taken = 0
    for _ in range(REPLIES):
        plan = chance.choice(plans)
        chunk = chance.choice(plan.chunks)
        right = reply_to(chunk, chance)
        parameters = mutator.mutated(HEADER + right)[len(HEADER) :] if chance.random() < 0.5 else right
        if not chunk.take(parameters, plan.states, layouts, meanings):
            chunk.forget()
            continue
        taken += 1
        try:
            results = decode_read_property_multiple_ack(parameters)
        except DecodeError as error:
            raise AssertionError(f"taken, but broken: {parameters.hex()}") from error
        assert [result.reference for result in results] == chunk.references()
        outcomes = {result.reference: outcome_of(result.outcome) for result in results}
        for place in range(chunk.start, chunk.stop):
            wanted = plan.points[place].object
            expected = state_of(wanted.type, ObjectId(wanted.type.number, wanted.instance), outcomes)
            assert (plan.states.texts[place], plan.states.conditions[place]) == expected, parameters.hex()
    assert taken > REPLIES / 50
