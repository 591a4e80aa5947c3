"""The words for ill manners, and what the device of our own does by itself: an encoder judged by known octets."""

from random import Random

import pytest

from bms_iot.bacnet.values.codec import decode_all
from bms_iot.simulator.adversary import octets, reading, requests, writing
from bms_iot.simulator.adversary.catalogue import Manners, explained, parse_manners
from bms_iot.simulator.adversary.objects import Objects, object_of
from bms_iot.simulator.adversary.requests import Asked, Written
from bms_iot.simulator.specification import analog, multi_state


@pytest.mark.parametrize("manner", Manners)
def test_every_manner_can_be_had_and_is_explained(manner: Manners) -> None:
    (made,) = parse_manners(manner.value)(Random(1))
    assert made.number == (made.default or 0)
    assert next(what for word, what, _ in explained() if word == manner.value).endswith(".")


def test_a_device_has_as_many_manners_as_are_named() -> None:
    made = parse_manners("no-rpm+slow=2+nan")(Random(1))
    assert [each.number for each in made] == [0, 2, 0]


@pytest.mark.parametrize("text", ["", "rude", "slow=x", "slow=0", "nan=3", "no-segmentation=20", "nan+", "many-objects=9999999"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no ill manner|no number|takes"):
        parse_manners(text)


@pytest.mark.parametrize(
    ("encoded", "hexadecimal"),
    [
        (octets.unsigned(0), "2100"),
        (octets.unsigned(65536), "23010000"),
        (octets.signed(-1), "31ff"),
        (octets.signed(128), "320080"),
        (octets.real(21.7), "4441ad999a"),
        (octets.double(72.0), "55084052000000000000"),
        (octets.text("Français"), "750a004672616ec3a7616973"),
        (octets.text("Ä", octets.UCS2), "730400c4"),
        (octets.bits((1, 0, 1)), "8205a0"),
        (octets.bits(()), "8100"),
        (octets.enumerated(1000), "9203e8"),
        (octets.date(1991, 1, 24, 4), "a45b011804"),
        (octets.time(17, 35, 45, 17), "b411232d11"),
        (octets.object_identifier(3, 15), "c400c0000f"),
        (octets.context(20, b"\x01"), "f91401"),
        (octets.octet_string(bytes(300)), "65fe012c" + "00" * 300),
        (octets.enclose(2, octets.NULL), "2e002f"),
    ],
)
def test_values_are_encoded_as_clause_20_2_says(encoded: bytes, hexadecimal: str) -> None:
    assert encoded.hex() == hexadecimal
    assert decode_all(encoded)


def objects() -> Objects:
    kept = {
        (0, 1): object_of((0, 1), "AI", analog("I", "AI", "", "no-units", 1.0)),
        (2, 1): object_of((2, 1), "AV", analog("V", "AV", "", "no-units", 20.0)),
        (19, 1): object_of((19, 1), "MV", multi_state("V", "MV", "", ("a", "b"), 1)),
    }
    return Objects(kept, device=(8, 1))


@pytest.mark.parametrize(
    ("identifier", "number", "value", "priority", "code"),
    [
        ((2, 1), 85, octets.real(5.0), 8, None),
        ((2, 1), 85, octets.real(5.0), None, None),
        ((2, 1), 85, octets.unsigned(5), 8, writing.INVALID_DATA_TYPE),
        ((2, 1), 85, octets.real(5.0), 6, writing.ACCESS_DENIED),
        ((2, 1), 85, octets.real(5.0), 17, writing.OUT_OF_RANGE),
        ((0, 1), 85, octets.real(5.0), None, writing.ACCESS_DENIED),
        ((19, 1), 85, octets.unsigned(3), 8, writing.OUT_OF_RANGE),
        ((2, 1), 103, octets.enumerated(0), None, writing.ACCESS_DENIED),
        ((2, 1), 9999, octets.enumerated(0), None, reading.UNKNOWN_PROPERTY),
        ((2, 9), 85, octets.real(5.0), None, reading.UNKNOWN_OBJECT),
        ((2, 1), 22, octets.real(0.5), None, None),
    ],
)
def test_a_write_is_taken_or_refused_as_clause_15_9_says(
    identifier: tuple[int, int], number: int, value: bytes, priority: int | None, code: tuple[int, int] | None
) -> None:
    _, refused = writing.write(objects(), [Written(asked=Asked(identifier, number), octets=value, priority=priority)])
    assert (refused.code if refused is not None else None) == code


def test_the_highest_priority_holds_the_point_until_it_is_relinquished() -> None:
    held = objects()
    point = held.kept[2, 1]
    for value, priority, present in (
        (5.0, 8, 5.0),
        (6.0, 10, 5.0),
        (7.0, 3, 7.0),
        (None, 3, 5.0),
        (None, 8, 6.0),
        (None, 10, 20.0),
    ):
        new = octets.NULL if value is None else octets.real(value)
        writing.write(held, [Written(asked=Asked((2, 1), 85), octets=new, priority=priority)])
        assert point.present_value == octets.real(present)


def test_requests_are_read_as_they_were_sent() -> None:
    asked = requests.read_property_multiple(bytes.fromhex("0c00800001 1e 0955 0957 1903 1f 0c00000002 1e 0955 1f"))
    assert asked == [Asked((2, 1), 85), Asked((2, 1), 87, 3), Asked((0, 2), 85)]
    written = requests.write_property(bytes.fromhex("0c00800001 1955 3e 4441ad999a 3f 4908"))
    assert written == Written(asked=Asked((2, 1), 85), octets=octets.real(21.7), priority=8)
    subscription = requests.subscribe_cov(bytes.fromhex("0901 1c00800001 2901 3a012c"))
    assert (subscription.process, subscription.object, subscription.confirmed, subscription.lifetime) == (1, (2, 1), True, 300)
