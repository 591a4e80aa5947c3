"""BVLC and NPDU, byte by byte (ASHRAE 135 annex J and clause 6.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_iot.bacnet.codec import DecodeError
from bms_iot.bacnet.network import Packet, Station, frame_broadcast, frame_unicast, parse_datagram

APDU = bytes.fromhex("1008")
HERE = Station("10.0.0.7", 47808)


def test_datagrams_are_written_as_the_standard_says() -> None:
    assert frame_unicast(APDU) == bytes.fromhex("810a0008 0104 1008")
    assert frame_unicast(APDU, expecting_reply=False) == bytes.fromhex("810a0008 0100 1008")
    assert frame_broadcast(APDU) == bytes.fromhex("810b000c 0120ffff00ff 1008")


@pytest.mark.parametrize(
    ("datagram", "station"),
    [
        pytest.param("810a0008 0100 1008", HERE, id="unicast"),
        pytest.param("810b0008 0100 1008", HERE, id="broadcast"),
        pytest.param("810b000c 0120ffff00ff 1008", HERE, id="broadcast to every network"),
        pytest.param("8104000e 0a010203bac1 0100 1008", Station("10.1.2.3", 0xBAC1), id="forwarded by a BBMD"),
        pytest.param("810a000c 0108 07d1 01 0a 1008", Station("10.0.0.7", 47808, 2001, b"\x0a"), id="from behind a router"),
        pytest.param(
            "810b0015 0128 ffff00 07d1 06 0a010203bac0 fe 1008",
            Station("10.0.0.7", 47808, 2001, bytes.fromhex("0a010203bac0")),
            id="from behind a router to every network",
        ),
        pytest.param("810a000c 0120 000100 ff 1008", HERE, id="to a network, by broadcast"),
    ],
)
def test_the_apdu_and_who_sent_it_are_found(datagram: str, station: Station) -> None:
    assert parse_datagram(bytes.fromhex(datagram), HERE.host, HERE.port) == Packet(station, APDU, True)


@pytest.mark.parametrize("datagram", ["810a0009 0100 1008", "810a0007 0100 1008", "810a0008 0100 1008 00"])
def test_a_datagram_of_another_length_than_it_says_is_not_intact(datagram: str) -> None:
    packet = parse_datagram(bytes.fromhex(datagram), HERE.host, HERE.port)
    assert packet is not None
    assert not packet.intact


@pytest.mark.parametrize(
    "datagram", ["81000006 0000", "81050006 003c", "810a0007 0180 00", "810a0009 0188 07d1 00 00".replace("0009", "000a")]
)
def test_results_registrations_and_network_messages_are_not_for_us(datagram: str) -> None:
    assert parse_datagram(bytes.fromhex(datagram), HERE.host, HERE.port) is None


@pytest.mark.parametrize(
    "datagram",
    [
        "",
        "81",
        "820a0008 0100 1008",
        "810a0008 0200 1008",
        "810a0004",
        "8104000a 0a010203",
        "810a0006 0128",
        "810a000a 010807d1ff0a",
    ],
)
def test_what_is_no_bacnet_ip_raises(datagram: str) -> None:
    with pytest.raises(DecodeError):
        parse_datagram(bytes.fromhex(datagram), HERE.host, HERE.port)


@given(st.binary(max_size=60), st.sampled_from([b"", b"\x81\x0a", b"\x81\x0b", b"\x81\x04"]))
def test_no_datagram_raises_anything_but_its_own_error(octets: bytes, head: bytes) -> None:
    try:
        packet = parse_datagram(head + octets, HERE.host, HERE.port)
    except DecodeError:
        return
    assert packet is None or isinstance(packet, Packet)
