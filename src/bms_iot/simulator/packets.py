"""BACnet/IP packets as the front sees them: just enough of BVLC, NPDU and APDU headers to log, to delay and to misbehave.

This is deliberately independent of `bms_iot.bacnet`: what is logged here is compared with what that client understood.
"""

from dataclasses import dataclass

ORIGINAL_UNICAST = 0x0A
ORIGINAL_BROADCAST = 0x0B
CONFIRMED_REQUEST, COMPLEX_ACK, SEGMENT_ACK, ERROR, REJECT, ABORT = 0, 3, 4, 5, 6, 7
READ_PROPERTY, READ_PROPERTY_MULTIPLE = 12, 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A BACnet/IP packet whose APDU starts at `apdu_at`; `pdu_type`, `invoke_id`, `service` as in ASHRAE 135 clause 20.1.

    `invoke_id` and `service` are None where the PDU has none. `segment` is (sequence number, more follows) of a segmented PDU,
    and `body_at` is where the service data begins.
    """

    octets: bytes
    apdu_at: int
    pdu_type: int
    invoke_id: int | None
    service: int | None
    segment: tuple[int, bool] | None
    body_at: int

    @property
    def body(self) -> bytes:
        """The service data."""
        return self.octets[self.body_at :]


def parse(octets: bytes) -> Packet | None:
    """The packet, None for what carries no APDU or is cut short."""
    try:
        at = _apdu_offset(octets)
        return None if at is None else _parse_apdu(octets, at)
    except IndexError:
        return None


def _apdu_offset(octets: bytes) -> int | None:
    """Skip BVLC (annex J.2) and NPDU (clause 6.2.2)."""
    if octets[0] != 0x81 or octets[1] not in (ORIGINAL_UNICAST, ORIGINAL_BROADCAST):
        return None
    control, at = octets[5], 6
    if control & 0x80:
        return None
    if control & 0x20:
        at += 3 + octets[at + 2]
    if control & 0x08:
        at += 3 + octets[at + 2]
    return at + (1 if control & 0x20 else 0)


def _parse_apdu(octets: bytes, at: int) -> Packet:
    pdu_type, flags = octets[at] >> 4, octets[at] & 0x0F
    invoke_id: int | None = None
    service: int | None = None
    segment = None
    body_at = at + 1
    if pdu_type in (CONFIRMED_REQUEST, COMPLEX_ACK):
        header = at + (2 if pdu_type == CONFIRMED_REQUEST else 1)
        invoke_id, body_at = octets[header], header + 2
        if flags & 0x08:
            segment, body_at = (octets[header + 1], bool(flags & 0x04)), header + 4
        service = octets[body_at - 1]
    elif pdu_type in (ERROR, REJECT, ABORT, SEGMENT_ACK):
        invoke_id, service, body_at = octets[at + 1], octets[at + 2] if pdu_type == ERROR else None, at + 3
    return Packet(
        octets=octets, apdu_at=at, pdu_type=pdu_type, invoke_id=invoke_id, service=service, segment=segment, body_at=body_at
    )


def unicast(apdu: bytes) -> bytes:
    """A local Original-Unicast-NPDU with that APDU."""
    return bytes((0x81, ORIGINAL_UNICAST)) + (len(apdu) + 6).to_bytes(2, "big") + b"\x01\x00" + apdu


def resized(octets: bytes) -> bytes:
    """The packet with its BVLC length put right."""
    return octets[:2] + len(octets).to_bytes(2, "big") + octets[4:]
