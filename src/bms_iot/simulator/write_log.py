"""The log of writes: one JSON line for each WriteProperty that was handed to a simulated device."""

import json
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from bms_iot.domain.points import ObjectType
from bms_iot.simulator import packets
from bms_iot.simulator.tags import Undecodable, enclosed, tag_at

WRITE_PROPERTY, WRITE_PROPERTY_MULTIPLE = 15, 16
_NULL, _REAL = 0, 4


class WriteLog:
    """Appends to `path`, flushed before the device has the request.

    Members of a line: `time` (UTC), `device` (instance), `client`, `invoke_id`, `object_type`, `instance`, `property` (number),
    `priority` (null for none), `octets` (the value as sent, hexadecimal) and `value`: a REAL as the number it is, null for NULL, of
    other types the contents as an unsigned number. A WritePropertyMultiple, or what cannot be decoded, has `undecodable` instead.
    """

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("a", encoding="utf-8")

    def close(self) -> None:
        self._file.close()

    def heard(self, octets: bytes, client: tuple[str, int], *, device: int) -> None:
        """A packet is on its way to the device."""
        request = packets.parse(octets)
        if request is None or request.pdu_type != packets.CONFIRMED_REQUEST:
            return
        if request.service not in (WRITE_PROPERTY, WRITE_PROPERTY_MULTIPLE):
            return
        line: dict[str, object] = {
            "time": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "device": device,
            "client": f"{client[0]}:{client[1]}",
            "invoke_id": request.invoke_id,
        }
        try:
            line |= _decoded(request.body) if request.service == WRITE_PROPERTY else {"undecodable": request.body.hex()}
        except (Undecodable, IndexError, struct.error):
            line["undecodable"] = request.body.hex()
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def _decoded(body: bytes) -> dict[str, object]:
    """WriteProperty-Request (ASHRAE 135 clause 15.9)."""
    identifier = tag_at(body, 0)
    number = int.from_bytes(identifier.content, "big")
    known = ObjectType.from_number(number >> 22)
    prop = tag_at(body, identifier.end)
    following = tag_at(body, prop.end)
    at = following.start if following.kind == "opening" else following.end
    octets, at = enclosed(body, at)
    priority = int.from_bytes(tag_at(body, at).content, "big") if at < len(body) else None
    value = tag_at(octets, 0)
    return {
        "object_type": known.value if known else str(number >> 22),
        "instance": number & 0x3F_FFFF,
        "property": int.from_bytes(prop.content, "big"),
        "priority": priority,
        "octets": octets.hex(),
        "value": _value(value.number, value.content),
    }


def _value(tag: int, content: bytes) -> float | int | None:
    if tag == _NULL:
        return None
    return float(struct.unpack(">f", content)[0]) if tag == _REAL else int.from_bytes(content, "big")
