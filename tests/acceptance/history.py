"""Checks a recorded history: what the devices answered against what arrived. Knows nothing of the gateway's code."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.acceptance.checker import contents

Identity = tuple[int, str, int]


def answered(log: Path) -> dict[Identity, list[float]]:
    """Per point, every present-value its device answered, in order; enumerations and states as numbers."""
    values: dict[Identity, list[float]] = defaultdict(list)
    for line in log.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert "undecodable" not in row, row
        if row["property"] == "present-value" and row["error"] is None:
            values[row["device"], row["object_type"], row["instance"]].append(float(row["value"]))
    return dict(values)


def messages(bulk: list[dict[str, Any]]) -> dict[tuple[int, int], dict[str, Any]]:
    """Messages by (boot, seq); the same key never carries readings of two contents."""
    by_key: dict[tuple[int, int], dict[str, Any]] = {}
    for message in bulk:
        key = message["boot"], message["seq"]
        assert contents(by_key.setdefault(key, message)) == contents(message), f"{key} arrived with two contents"
    return by_key


def assert_gapless(bulk: list[dict[str, Any]]) -> None:
    """Within each boot the seqs are 1, 2, 3 … without a gap."""
    seqs: dict[int, list[int]] = defaultdict(list)
    for boot, seq in messages(bulk):
        seqs[boot].append(seq)
    for boot, seen in seqs.items():
        assert sorted(seen) == list(range(1, len(seen) + 1)), f"boot {boot} has gaps: {sorted(seen)}"


def arrived(bulk: list[dict[str, Any]]) -> dict[Identity, list[float]]:
    """Per point, the good values in order of (boot, seq), each message counted once."""
    values: dict[Identity, list[float]] = defaultdict(list)
    for _, message in sorted(messages(bulk).items()):
        for point in message["points"]:
            if point["quality"] == "good":
                values[_identity(point)].append(_number(point))
    return dict(values)


def _identity(point: dict[str, Any]) -> Identity:
    return int(point["controller_device_id"]), point["bacnet_object_type"], point["point_id"]


def _number(point: dict[str, Any]) -> float:
    text = point["present_value"]
    number = {"active": 1.0, "inactive": 0.0}[text] if point["bacnet_object_type"].startswith("binary") else float(text)
    assert float(point["value"]) == number, point
    return number
