"""The log's own decoder of replies, against examples of the standard and against hostile octets."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_iot.simulator import answers, packets
from bms_iot.simulator.answers import Answer
from bms_iot.simulator.tags import Undecodable

# The service data of the acknowledgement in ASHRAE 135 annex F.3.5, and one of its like with two properties.
PRESENT_VALUE_OF_AI_5 = bytes.fromhex("0c00000005 1955 3e 444290999a 3f")
TWO_OF_AI_16 = bytes.fromhex("0c00000010 1e 2955 4e 444291999a 4f 2967 4e 9100 4f 1f")


def test_the_example_of_read_property_is_decoded():
    (answer,) = answers.decode(packets.READ_PROPERTY, PRESENT_VALUE_OF_AI_5)
    assert answer.value == pytest.approx(72.3, abs=1e-5)
    assert answer == Answer(
        object_type="analogInput",
        instance=5,
        property="present-value",
        index=None,
        octets=bytes.fromhex("444290999a"),
        value=answer.value,
    )


def test_the_example_of_read_property_multiple_is_decoded():
    first, second = answers.decode(packets.READ_PROPERTY_MULTIPLE, TWO_OF_AI_16)
    assert (first.instance, first.property) == (16, "present-value")
    assert first.value == pytest.approx(72.8, abs=1e-5)
    assert (second.property, second.value, second.octets.hex()) == ("reliability", 0, "9100")


def test_an_error_within_read_property_multiple_is_an_answer():
    body = bytes.fromhex("0c000000211e29555e9101911f5f1f")
    (answer,) = answers.decode(packets.READ_PROPERTY_MULTIPLE, body)
    assert (answer.instance, answer.error, answer.value) == (33, (1, 31), None)


@pytest.mark.parametrize(
    ("octets", "value"),
    [
        ("00", None),
        ("11", True),
        ("22 03e8", 1000),
        ("32 fc18", -1000),
        ("44 7f800000", "inf"),
        ("44 7fc00000", "nan"),
        ("44 c1480000", -12.5),
        ("55 08 400599999999999a", 2.7),
        ("73 00 c3a9", "é"),
        ("82 04f0", "1111"),
        ("c4 00800005", "analogValue:5"),
        ("c4 02000001", "8:1"),
        ("2e 2105 2f", "2e21052f"),
    ],
)
def test_each_datatype_has_its_value(octets, value):
    body = bytes.fromhex("0c00000005 1955 3e" + octets + "3f")
    (answer,) = answers.decode(packets.READ_PROPERTY, body)
    assert answer.value == value
    assert answer.octets == bytes.fromhex(octets)


def test_arrays_read_whole_are_lists_even_of_one_and_an_element_is_not():
    whole = bytes.fromhex("0c02000001194c3ec4000000013f")
    element = bytes.fromhex("0c02000001194c29013ec4000000013f")
    assert answers.decode(packets.READ_PROPERTY, whole)[0].value == ["analogInput:1"]
    (answer,) = answers.decode(packets.READ_PROPERTY, element)
    assert (answer.value, answer.index) == ("analogInput:1", 1)


@pytest.mark.parametrize(
    "service_and_body", [(packets.READ_PROPERTY, PRESENT_VALUE_OF_AI_5), (packets.READ_PROPERTY_MULTIPLE, TWO_OF_AI_16)]
)
def test_a_reply_cut_short_anywhere_is_called_undecodable(service_and_body):
    service, body = service_and_body
    for length in range(1, len(body)):
        with pytest.raises(Undecodable):
            answers.decode(service, body[:length])


@given(st.sampled_from([packets.READ_PROPERTY, packets.READ_PROPERTY_MULTIPLE, 99]), st.binary(max_size=60))
def test_no_octets_do_more_than_be_undecodable(service, body):
    with suppress(Undecodable):
        answers.decode(service, body)


@given(st.binary(max_size=40))
def test_no_octets_upset_the_parser_of_packets(octets):
    packet = packets.parse(b"\x81\x0a" + octets)
    assert packet is None or packet.octets.startswith(b"\x81\x0a")
