"""Every decoder of the package takes any octets: a value or a DecodeError, nothing else, and in little time."""

import inspect
import pkgutil
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bms_iot.bacnet.services
from bms_iot.bacnet.apdu import parse_apdu
from bms_iot.bacnet.network.npdu import parse_datagram
from bms_iot.bacnet.values import codec, strings
from bms_iot.bacnet.values.codec import DecodeError, decode_all, decode_value, skip_constructed
from bms_iot.bacnet.values.text import plain_text
from tests.chances import at_level, seeded
from tests.mutations import Mutator
from tests.odd_values import BROKEN, OPTIONALS, PRESENT_VALUES

Decoder = Callable[[bytes], object]


def decoders() -> dict[str, Decoder]:
    """Every public decoder of parameters that the services have."""
    found: dict[str, Decoder] = {}
    for module in pkgutil.iter_modules(bms_iot.bacnet.services.__path__):
        members = vars(import_module(f"bms_iot.bacnet.services.{module.name}"))
        for name, member in members.items():
            if name.startswith("decode_") and member.__module__.startswith("bms_iot.bacnet.services"):
                required = [
                    each
                    for each in inspect.signature(member).parameters.values()
                    if each.default is each.empty and each.kind is not each.KEYWORD_ONLY
                ]
                if len(required) == 1:
                    found[name] = member
    return found


DECODERS: dict[str, Decoder] = {
    **decoders(),
    "parse_apdu": parse_apdu,
    "parse_datagram": lambda octets: parse_datagram(octets, "127.0.0.1", 47808),
    "decode_all": decode_all,
    "skip_constructed": lambda octets: skip_constructed(octets, 0),
}

ODD = [*(case.octets for case in (*PRESENT_VALUES, *BROKEN)), *(case.octets for case in OPTIONALS)]
OCTETS = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from(ODD), max_size=8).map(b"".join),
    st.lists(
        st.sampled_from([bytes((octet,)) for octet in range(256)] + [b"\x0e", b"\x0f", b"\xf5\x10\xff"] * 20), max_size=80
    ).map(b"".join),
)


def test_the_services_have_decoders() -> None:
    assert {"decode_i_am", "decode_read_property_ack", "decode_read_property_multiple_ack", "decode_notification"} <= set(DECODERS)


@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=at_level(change=300, nightly=20_000, release=200_000), deadline=None)
@given(octets=OCTETS)
def test_any_octets_are_decoded_or_refused(name: str, octets: bytes) -> None:
    with suppress(DecodeError):
        DECODERS[name](octets)


@given(st.binary(max_size=120))
def test_any_character_string_is_a_text_that_can_be_stored(octets: bytes) -> None:
    strings.decode_text(octets).encode()


@given(OCTETS)
def test_any_value_has_a_text_without_nul(octets: bytes) -> None:
    try:
        values = decode_all(octets)
    except DecodeError:
        return
    for value in values:
        assert "\0" not in plain_text(value)
        plain_text(value).encode()


@pytest.mark.parametrize("opening", [b"\x0e", b"\xfe\x20"])
def test_the_deepest_nesting_is_no_recursion(opening: bytes) -> None:
    closing = b"\x0f" if opening == b"\x0e" else b"\xff\x20"
    deep = opening * 20_000 + b"\x21\x07" + closing * 20_000
    value, end = decode_value(deep, 0)
    assert end == len(deep)
    assert isinstance(value, codec.Constructed)
    with pytest.raises(DecodeError):
        decode_value(deep[:-1], 0)


def test_mutated_frames_are_parsed_or_refused() -> None:
    chance = seeded("parsing")
    mutator = Mutator(chance)
    right = b"\x81\x0a\x00\x00\x01\x08\x00\x05\x01\x07\x30\x01\x0e\x0c\x00\x80\x00\x01\x1e\x29\x55\x4e\x44\x41\xad\x99\x9a\x4f\x1f"
    for _ in range(at_level(change=20_000, nightly=1_000_000, release=10_000_000)):
        datagram = mutator.mutated(right)
        for name in ("parse_datagram", "decode_read_property_multiple_ack", "parse_apdu"):
            try:
                DECODERS[name](
                    datagram if name == "parse_datagram" else datagram[13:] if name.startswith("decode") else datagram[10:]
                )
            except DecodeError:
                continue
