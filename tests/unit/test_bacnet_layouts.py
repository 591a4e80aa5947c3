"""Learned layouts: whatever they accept means what the general decoder says it means."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bms_iot.bacnet.polling.convert import VALUE_PROPERTIES, state_of
from bms_iot.bacnet.polling.layouts import MAX_FORMS_OF_OBJECT, MAX_LAYOUTS, MAX_LAYOUTS_OF_SHAPE, Layout, Layouts, Shape
from bms_iot.bacnet.polling.meanings import Meanings, State
from bms_iot.bacnet.polling.plans import Chunk, States
from bms_iot.bacnet.polling.poller import outcome_of
from bms_iot.bacnet.services.reading import decode_read_property_multiple_ack
from bms_iot.bacnet.values.codec import DecodeError, ObjectId, encode_tag
from bms_iot.bacnet.values.text import number_text, real_text
from bms_iot.domain.points import ObjectType

NUMBERS = sorted(each.number for each in ObjectType)
UNKNOWN_PROPERTY = b"\x5e\x91\x02\x91\x20\x5f"


def primitive(tag: int, contents: bytes) -> bytes:
    return encode_tag(tag, False, len(contents)) + contents


reals = st.floats(width=32).map(lambda value: primitive(4, struct.pack(">f", value)))
discrete = st.builds(primitive, st.sampled_from([2, 9]), st.integers(0, 255).map(lambda value: bytes([value])))
flags = st.integers(0, 15).map(lambda bits: primitive(8, bytes([4, bits << 4])))
booleans = st.sampled_from([b"\x10", b"\x11"])
odd = st.one_of(
    st.builds(primitive, st.integers(0, 14).filter(lambda tag: tag != 1), st.binary(max_size=8)),
    st.builds(lambda contents: primitive(7, b"\0" + contents), st.binary(max_size=300)),
    st.binary(max_size=6).map(lambda contents: encode_tag(0, True, len(contents)) + contents),
    st.binary(max_size=3).map(lambda contents: b"\x0e" + primitive(6, contents) + b"\x0f"),
    st.sampled_from([b"\x00", b"\x12", b"\x15\x01"]),
)
single = st.one_of(reals, discrete, flags, booleans, odd)
values = st.one_of(single, single, st.lists(single, max_size=3).map(b"".join)).map(lambda octets: b"\x4e" + octets + b"\x4f")
errors = st.builds(lambda c, e: b"\x5e" + primitive(9, bytes([c])) + primitive(9, bytes([e])) + b"\x5f", *(st.integers(0, 99),) * 2)
results = st.one_of(values, values, values, errors)


@st.composite
def replies(draw: st.DrawFn) -> tuple[Shape, tuple[bytes, ...], list[list[bytes]]]:
    """What is asked, and one result for each property of each object."""
    objects = draw(st.lists(st.tuples(st.sampled_from(NUMBERS), st.integers(0, 0x3FFFFE)), min_size=1, max_size=4, unique=True))
    shape, outcomes = [], []
    for number, _ in objects:
        kept = draw(st.sets(st.sampled_from(VALUE_PROPERTIES[1:])))
        properties = tuple(each for each in VALUE_PROPERTIES if each == 85 or each in kept)
        shape.append((number, properties))
        outcomes.append([draw(results) for _ in properties])
    return tuple(shape), tuple((number << 22 | instance).to_bytes(4, "big") for number, instance in objects), outcomes


def encode(shape: Shape, identifiers: tuple[bytes, ...], outcomes: list[list[bytes]]) -> bytes:
    octets = b""
    for (_, properties), identifier, each in zip(shape, identifiers, outcomes, strict=True):
        of_object = b"".join(bytes([0x29, number]) + result for number, result in zip(properties, each, strict=True))
        octets += b"\x0c" + identifier + b"\x1e" + of_object + b"\x1f"
    return octets


def by_the_general_decoder(parameters: bytes, shape: Shape, identifiers: tuple[bytes, ...]) -> list[State]:
    decoded = decode_read_property_multiple_ack(parameters)
    asked = [(identifier, number) for identifier, (_, properties) in zip(identifiers, shape, strict=True) for number in properties]
    assert [(reference.object.type << 22 | reference.object.instance, reference.property) for reference, _ in decoded] == [
        (int.from_bytes(identifier, "big"), number) for identifier, number in asked
    ]
    outcomes = {result.reference: outcome_of(result.outcome) for result in decoded}
    states = []
    for (number, _), identifier in zip(shape, identifiers, strict=True):
        object_type = ObjectType.from_number(number)
        assert object_type is not None
        states.append(state_of(object_type, ObjectId(number, int.from_bytes(identifier, "big") & 0x3FFFFF), outcomes))
    return states


def learn(parameters: bytes, shape: Shape, identifiers: tuple[bytes, ...]) -> Layout | None:
    return Layouts().learn(parameters, shape, identifiers)


def chunk_of(shape: Shape, identifiers: tuple[bytes, ...]) -> Chunk:
    return Chunk(start=0, stop=len(shape), shape=shape, identifiers=identifiers, request=b"")


@st.composite
def mutations(draw: st.DrawFn, octets: bytes) -> bytes:
    """A few octets changed, taken away or put in."""
    changed = bytearray(octets)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(changed)))
        kind = draw(st.sampled_from(["change", "change", "change", "cut", "insert", "truncate"]))
        if kind == "insert":
            changed[at:at] = draw(st.binary(min_size=1, max_size=4))
        elif kind == "truncate":
            del changed[at:]
        elif at < len(changed):
            changed[at : at + 1] = b"" if kind == "cut" else draw(st.binary(min_size=1, max_size=1))
    return bytes(changed)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_what_a_chunk_takes_is_what_the_general_decoder_reads(data):
    shape, identifiers, outcomes = data.draw(replies())
    chunk, states, layouts, meanings = chunk_of(shape, identifiers), States(len(shape)), Layouts(), Meanings()
    history = [encode(shape, identifiers, outcomes)]
    for _ in range(data.draw(st.integers(0, 6))):
        again = [[data.draw(st.just(result) | results) for result in each] for each in outcomes]
        history.append(
            data.draw(
                st.one_of(
                    st.just(encode(shape, identifiers, again)),
                    mutations(history[0]),
                    mutations(history[-1]),
                    st.sampled_from(history),
                )
            )
        )
    for parameters in history:
        if not chunk.take(parameters, states, layouts, meanings):
            chunk.forget()
            continue
        assert list(zip(states.texts, states.conditions, strict=True)) == by_the_general_decoder(parameters, shape, identifiers)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_a_layout_accepts_no_reply_that_falls_into_other_pieces(data):
    shape, identifiers, outcomes = data.draw(replies())
    parameters = encode(shape, identifiers, outcomes)
    layout = learn(parameters, shape, identifiers)
    if layout is None:
        return
    expected = layout.expecting(identifiers)
    assert layout.accepts(parameters, expected)
    mutated = data.draw(mutations(parameters))
    if layout.accepts(mutated, expected):
        before = decode_read_property_multiple_ack(parameters)
        after = decode_read_property_multiple_ack(mutated)
        assert [result.reference for result in before] == [result.reference for result in after]
        assert [type(result.outcome) for result in before] == [type(result.outcome) for result in after]


@given(replies(), st.integers(0, 0x3FFFFE))
def test_another_object_in_the_place_of_one_is_not_accepted(reply, instance):
    shape, identifiers, outcomes = reply
    layout = learn(encode(shape, identifiers, outcomes), shape, identifiers)
    other = (shape[0][0] << 22 | instance).to_bytes(4, "big")
    if layout is None or other == identifiers[0]:
        return
    swapped = encode(shape, (other, *identifiers[1:]), outcomes)
    assert not layout.accepts(swapped, layout.expecting(identifiers))
    assert layout.accepts(swapped, layout.expecting((other, *identifiers[1:])))


@given(replies())
def test_usual_replies_are_learned_unless_a_property_is_unknown(reply):
    shape, identifiers, outcomes = reply
    parameters = encode(shape, identifiers, outcomes)
    unknown = any(
        result == UNKNOWN_PROPERTY and number != 85
        for (_, properties), each in zip(shape, outcomes, strict=True)
        for number, result in zip(properties, each, strict=True)
    )
    try:
        decode_read_property_multiple_ack(parameters)
    except DecodeError:
        unknown = True
    assert (learn(parameters, shape, identifiers) is None) is unknown


@given(st.binary(min_size=4, max_size=4))
def test_the_text_of_a_real_is_the_shortest_that_gives_it_back(octets):
    assert real_text(octets) == number_text(struct.unpack(">f", octets)[0])


AI1 = (b"\x00\x00\x00\x01",)
ANALOG: Shape = ((0, VALUE_PROPERTIES),)
NORMAL = [b"\x4e\x82\x04\x00\x4f", b"\x4e\x91\x00\x4f", b"\x4e\x10\x4f", b"\x4e\x91\x00\x4f"]


def analog(value: float) -> bytes:
    return encode(ANALOG, AI1, [[b"\x4e" + primitive(4, struct.pack(">f", value)) + b"\x4f", *NORMAL]])


@pytest.mark.parametrize("values", [(1.5, float("nan"), 1.5, float("inf"), 2.5), (0.0, -0.0, 0.0)])
def test_a_value_that_stops_being_a_number_and_becomes_one_again_has_its_quality_each_time(values):
    chunk, states, layouts, meanings = chunk_of(ANALOG, AI1), States(1), Layouts(), Meanings()
    for value in values:
        assert chunk.take(analog(value), states, layouts, meanings)
        assert [(states.texts[0], states.conditions[0])] == by_the_general_decoder(analog(value), ANALOG, AI1)


def test_a_value_that_stays_costs_no_new_object():
    chunk, states, layouts, meanings = chunk_of(ANALOG, AI1), States(1), Layouts(), Meanings()
    assert chunk.take(analog(21.7), states, layouts, meanings)
    before = states.texts[0], states.conditions[0]
    assert chunk.take(analog(21.7), states, layouts, meanings)
    assert chunk.take(bytes(bytearray(analog(21.7))), states, layouts, meanings)
    assert (states.texts[0] is before[0], states.conditions[0] is before[1]) == (True, True)


def test_devices_of_one_shape_share_a_layout():
    layouts, meanings = Layouts(), Meanings()
    for instance in range(1, 6):
        identifiers = (instance.to_bytes(4, "big"),)
        reply = analog(20 + instance).replace(AI1[0], identifiers[0], 1)
        states = States(1)
        assert chunk_of(ANALOG, identifiers).take(reply, states, layouts, meanings)
        assert states.texts == [str(20 + instance)]
    assert len(layouts.of(ANALOG, len(analog(1)))) == 1


def test_replies_that_never_look_the_same_are_learned_from_less_and_less():
    chunk, layouts, meanings = chunk_of(ANALOG, AI1), Layouts(), Meanings()
    taken = 0
    for length in range(300):
        reply = encode(ANALOG, AI1, [[b"\x4e" + primitive(7, b"\0" + b"x" * (6 + length)) + b"\x4f", *NORMAL]])
        taken += chunk.take(reply, States(1), layouts, meanings)
    assert taken < 12


def test_layouts_and_forms_are_bounded():
    layouts = Layouts()
    size = len(analog(1))
    for _ in range(20):
        layouts.learn(analog(1), ANALOG, AI1)
    assert len(layouts.of(ANALOG, size)) == MAX_LAYOUTS_OF_SHAPE
    for number in range(1, MAX_LAYOUTS + 1):
        assert layouts.learn(analog(1), ((number, VALUE_PROPERTIES),), AI1)
    assert not layouts.of(ANALOG, size)
    assert len(layouts.of(((MAX_LAYOUTS, VALUE_PROPERTIES),), size)) == 1


def test_a_form_is_walked_over_once_and_serves_every_reply_it_fits():
    layouts = Layouts()
    assert layouts.learn(analog(1), ANALOG, AI1)
    shape = ANALOG * 5
    identifiers = tuple((number << 8).to_bytes(4, "big") for number in range(5))
    reply = b"".join(analog(value).replace(AI1[0], each, 1) for value, each in enumerate(identifiers))
    layout = layouts.learn(reply, shape, identifiers)
    assert layout is not None
    assert layout.parts.unpack(reply)[::2] == tuple(struct.pack(">f", value) for value in range(5))
    for length in range(3 * MAX_FORMS_OF_OBJECT):
        text_reply = encode(ANALOG, AI1, [[b"\x4e" + primitive(7, b"\0" + b"x" * length) + b"\x4f", *NORMAL]])
        assert layouts.learn(text_reply, ANALOG, AI1)


def test_of_all_replies_with_one_other_octet_those_accepted_differ_in_contents_only():
    shape: Shape = ((0, VALUE_PROPERTIES), (4, VALUE_PROPERTIES), (19, VALUE_PROPERTIES))
    identifiers = tuple((number << 22 | 7).to_bytes(4, "big") for number, _ in shape)
    wrapped = [
        b"\x4e" + octets + b"\x4f"
        for octets in (primitive(4, b"\x41\xad\x99\x9a"), b"\x91\x01", primitive(7, b"\x00abcdef"), b"\x00", b"\x19\x05")
    ]
    outcomes = [
        [wrapped[0], *NORMAL],
        [wrapped[1], b"\x4e\x82\x04\x10\x4f", b"\x5e\x91\x02\x91\x1f\x5f", b"\x4e\x11\x4f", wrapped[2]],
        [b"\x4e\x21\x03\x22\x01\x00\x4f", wrapped[3], b"\x4e\x4f", wrapped[4], b"\x4e\x2e\x91\x07\x2f\x4f"],
    ]
    reply = encode(shape, identifiers, outcomes)
    layout = learn(reply, shape, identifiers)
    assert layout is not None
    expected = layout.expecting(identifiers)
    structure = [(result.reference, type(result.outcome)) for result in decode_read_property_multiple_ack(reply)]
    accepted: set[int] = set()
    for at in range(len(reply)):
        for octet in range(256):
            changed = reply[:at] + bytes([octet]) + reply[at + 1 :]
            if changed != reply and layout.accepts(changed, expected):
                accepted.add(at)
                decoded = decode_read_property_multiple_ack(changed)
                assert [(result.reference, type(result.outcome)) for result in decoded] == structure
                assert len(decoded[0].outcome) == 1 if isinstance(decoded[0].outcome, tuple) else False
    reals, flags_of_two, booleans_of_two = 4, 2 + 2, 2
    enumerations, text, unsigned = 2 + 1, 7, 1 + 2
    assert len(accepted) == reals + flags_of_two + booleans_of_two + enumerations + text + unsigned
