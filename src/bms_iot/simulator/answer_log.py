"""The log of answers: one JSON line for each property value the simulated devices sent."""

import json
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from bms_iot.domain.points import DeviceAddress
from bms_iot.simulator import answers, packets
from bms_iot.simulator.tags import Undecodable

MAX_OPEN_REPLIES = 256


class AnswerLog:
    """Appends to `path`, a line for each answered read, flushed before the next packet is handled.

    Members of a line: `time` (UTC, when the reply had been sent), `device` (instance), `address`, `client`, `invoke_id`,
    `object_type`, `instance`, `property`, `index`, `octets` (the value as sent, hexadecimal), `value` and `error` (`[class, code]`,
    null for a value). In `value` numbers are exactly what the REAL is, `nan` and `inf` are text, enumerations are numbers, bit
    strings text of 0 and 1, arrays read whole are lists, constructed values are hexadecimal octets.
    A reply that cannot be decoded is a line with `undecodable`, the octets of its service data.
    """

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("a", encoding="utf-8")
        self._segments: OrderedDict[tuple[int, tuple[str, int], int], dict[int, bytes]] = OrderedDict()

    def close(self) -> None:
        self._file.close()

    def sent(self, octets: bytes, client: tuple[str, int], *, device: int, address: DeviceAddress) -> None:
        """A packet has left the device at `address` towards `client`."""
        reply = packets.parse(octets)
        if reply is None or reply.pdu_type != packets.COMPLEX_ACK or reply.service is None or reply.invoke_id is None:
            return
        body = reply.body if reply.segment is None else self._joined(reply, (device, client, reply.invoke_id))
        if body is None:
            return
        head = {
            "time": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "device": device,
            "address": f"{address.host}:{address.port}",
            "client": f"{client[0]}:{client[1]}",
            "invoke_id": reply.invoke_id,
        }
        self._write(head, reply.service, body)

    def _write(self, head: dict[str, object], service: int, body: bytes) -> None:
        try:
            found = answers.decode(service, body)
        except Undecodable:
            self._file.write(json.dumps({**head, "undecodable": body.hex()}) + "\n")
        else:
            for answer in found:
                line = {
                    **head,
                    "object_type": answer.object_type,
                    "instance": answer.instance,
                    "property": answer.property,
                    "index": answer.index,
                    "value": answer.value,
                    "octets": answer.octets.hex(),
                    "error": answer.error,
                }
                self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()

    def _joined(self, reply: packets.Packet, key: tuple[int, tuple[str, int], int]) -> bytes | None:
        """The whole service data once the last segment has left; None before. Repeated segments count once."""
        assert reply.segment is not None
        number, more = reply.segment
        parts = self._segments.setdefault(key, {})
        if number == 0:
            parts.clear()
        parts[number] = reply.body
        if len(self._segments) > MAX_OPEN_REPLIES:
            self._segments.popitem(last=False)
        if more or len(parts) != number + 1:
            return None
        del self._segments[key]
        return b"".join(parts[position] for position in sorted(parts))
