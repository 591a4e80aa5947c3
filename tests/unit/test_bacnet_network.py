"""BVLC and NPDU, byte by byte (ASHRAE 135 annex J and clause 6.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_iot.bacnet.network.npdu import (
    BvlcResult,
    NetworkMessage,
    Packet,
    Station,
    as_distributed,
    frame_broadcast,
    frame_register,
    frame_unicast,
    frame_who_is_router,
    parse_datagram,
    remote,
)
from bms_iot.bacnet.values.codec import DecodeError

APDU = bytes.fromhex("1008")
HERE = Station("10.0.0.7", 47808)


def test_datagrams_are_written_as_the_standard_says() -> None:
    assert frame_unicast(APDU) == bytes.fromhex("810a0008 0104 1008")
    assert frame_unicast(APDU, expecting_reply=False) == bytes.fromhex("810a0008 0100 1008")
    assert frame_broadcast(APDU) == bytes.fromhex("810b000c 0120ffff00ff 1008")
    assert frame_broadcast(APDU, 0) == bytes.fromhex("810b0008 0100 1008")
    assert frame_broadcast(APDU, 2001) == bytes.fromhex("810b000c 012007d100ff 1008")
    assert frame_broadcast(APDU, 2001, b"\x0a") == bytes.fromhex("810b000d 012007d1010aff 1008")
    assert frame_unicast(APDU, to=remote(2001, b"\x0a")) == bytes.fromhex("810a000d 012407d1010aff 1008")
    assert frame_unicast(APDU, to=HERE) == frame_unicast(APDU)
    assert frame_who_is_router(2001) == bytes.fromhex("810b0009 018000 07d1")
    assert frame_register(300) == bytes.fromhex("81050006 012c")
    assert as_distributed(frame_broadcast(APDU)) == bytes.fromhex("8109000c 0120ffff00ff 1008")


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
    assert parse_datagram(bytes.fromhex(datagram), HERE.host, HERE.port) == Packet(station, APDU, True, datagram.startswith("8104"))


@pytest.mark.parametrize("datagram", ["810a0009 0100 1008", "810a0007 0100 1008", "810a0008 0100 1008 00"])
def test_a_datagram_of_another_length_than_it_says_is_not_intact(datagram: str) -> None:
    packet = parse_datagram(bytes.fromhex(datagram), HERE.host, HERE.port)
    assert isinstance(packet, Packet)
    assert not packet.intact


@pytest.mark.parametrize(
    ("datagram", "message"),
    [
        ("81000006 0000", BvlcResult(*HERE[:2], 0)),
        ("81000006 0030", BvlcResult(*HERE[:2], 0x30)),
        ("810a0009 018001 07d1", NetworkMessage(*HERE[:2], 1, b"\x07\xd1")),
        ("810a000c 018803e7010a 0500", NetworkMessage(*HERE[:2], 5, b"\x00")),
        ("8104000d 0a010203bac1 0180 00", NetworkMessage("10.1.2.3", 0xBAC1, 0, b"")),
    ],
)
def test_results_and_network_messages_are_told_apart(datagram: str, message: object) -> None:
    assert parse_datagram(bytes.fromhex(datagram), HERE.host, HERE.port) == message


@pytest.mark.parametrize("datagram", ["81050006 003c", "810a0008 0180 00", "8109000c 0120ffff00ff 1008", "81000008 0000 0000"])
def test_registrations_and_damaged_network_messages_are_not_for_us(datagram: str) -> None:
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
        incoming = parse_datagram(head + octets, HERE.host, HERE.port)
    except DecodeError:
        return
    assert incoming is None or isinstance(incoming, (Packet, NetworkMessage, BvlcResult))
