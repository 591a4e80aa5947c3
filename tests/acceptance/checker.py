"""Prove I1 to I4 and I6 from a recorded history, or name what breaks them.

    python -m tests.acceptance.checker DIRECTORY [--database FILE]

A history is five files of JSON lines: `answers.jsonl` and `writes.jsonl` from the simulated devices, `broker.jsonl` from the proxy
before the broker, `commands.jsonl` (each command as it was sent, again for each repetition), and `events.jsonl` (`killed`,
`started`, `committed`: the keys found in the outbox of a gateway that was killed). The checker knows none of the gateway's code.
"""

import argparse
import json
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Key = tuple[int, int]
Identity = tuple[int, str, int]

OWN = (
    "id", "controller_ip_address", "controller_port", "controller_device_id", "bacnet_object_type", "point_id",
    "iot_device_point_id", "controller_id", "units", "present_value", "value", "is_uploaded", "status_flags", "event_state",
    "out_of_service", "reliability", "error_info", "created_at", "updated_at", "created_at_unix_milli_timestamp", "quality",
    "acquired_at",
)  # fmt: skip
"""The keys that every point has."""
ROUND_A_WRITE_SECONDS = 10.0
"""A written point is read before and after, by nobody's poll."""
SAME_READ_SECONDS = 2.0
"""Between a device's answer and the gateway's receipt of it."""
BEFORE_COMMIT_SECONDS = 6.0
"""A reading that old was committed when the gateway was killed, or the gateway broke its promise."""
RETRY_SECONDS = 12.0
"""A request that is asked again comes within that time, under the same invoke id."""


@dataclass
class Verdict:
    """What was found: `broken` names every violation, `figures` say how much was looked at."""

    broken: list[str] = field(default_factory=list)
    figures: dict[str, int | float] = field(default_factory=dict)

    def must(self, holds: object, said: str) -> None:
        if not holds:
            self.broken.append(said)


@dataclass(frozen=True, kw_only=True)
class History:
    """What was recorded. Times are seconds since 1970."""

    answers: list[Row]
    writes: list[Row]
    published: list[Row]
    acknowledged: frozenset[int]
    commands: list[Row]
    events: list[Row]

    @classmethod
    def read(cls, directory: Path) -> "History":
        broker = _lines(directory / "broker.jsonl")
        return cls(
            answers=_lines(directory / "answers.jsonl"),
            writes=_lines(directory / "writes.jsonl"),
            published=[row for row in broker if "publish" in row],
            acknowledged=frozenset(row["acknowledged"] for row in broker if "acknowledged" in row),
            commands=_lines(directory / "commands.jsonl"),
            events=_lines(directory / "events.jsonl"),
        )

    def on(self, ending: str) -> list[Row]:
        """What reached the broker on topics with this ending, in order."""
        return [row for row in self.published if row["topic"].endswith(ending)]

    def at(self, event: str) -> list[Row]:
        return [row for row in self.events if row["event"] == event]


def check(history: History, *, database: Path | None = None) -> Verdict:
    """Every invariant that a recorded history can prove."""
    verdict = Verdict()
    bulk = history.on("/bulk")
    stream = _stream(bulk, verdict)
    _check_delivery(history, stream, verdict)
    _check_values(history, stream, verdict)
    _check_boots(history, verdict)
    _check_order(history, bulk, stream, verdict)
    _check_commands(history, verdict)
    if database is not None:
        _check_database(database, verdict)
    return verdict


def _stream(bulk: Iterable[Row], verdict: Verdict) -> dict[Key, Row]:
    """I2, first half: messages by (boot, seq), each with one content only."""
    stream: dict[Key, Row] = {}
    repeated = 0
    for row in bulk:
        payload = row["payload"]
        if "gap" in payload:
            continue
        key = payload["boot"], payload["seq"]
        repeated += key in stream
        same = contents(stream.setdefault(key, payload)) == contents(payload)
        verdict.must(same, f"I2: {key} carried two contents")
    verdict.figures |= {"messages": len(stream), "repeated": repeated}
    return stream


def contents(message: Row) -> list[Row]:
    """What is the reading's own. Optional properties are as they are known when a message is sent, and may differ when repeated."""
    return [{name: point[name] for name in OWN} for point in message["points"]]


def _check_delivery(history: History, stream: Mapping[Key, Row], verdict: Verdict) -> None:
    """I1 and I2: everything committed was acknowledged by the broker, without a gap that nobody named."""
    received = {
        (row["payload"]["boot"], row["payload"]["seq"])
        for row in history.on("/bulk")
        if "gap" not in row["payload"] and row["publish"] in history.acknowledged
    }
    named = _gaps(history)
    committed = {tuple(key) for event in history.at("committed") for key in event["keys"]}
    verdict.must(committed <= received | named, f"I1: committed, never acknowledged: {sorted(committed - received - named)[:10]}")
    last: dict[int, int] = defaultdict(int)
    for boot, seq in received | committed | stream.keys():
        last[boot] = max(last[boot], seq)
    for boot, end in last.items():
        missing = {(boot, seq) for seq in range(1, end + 1)} - received - named
        verdict.must(not missing, f"I2: nobody named these, and the broker never acknowledged them: {sorted(missing)[:10]}")
    verdict.figures |= {"boots": len(last), "committed_at_kills": len(committed), "named_in_gaps": len(named)}


def _gaps(history: History) -> set[Key]:
    gaps = [row["payload"]["gap"] for row in history.on("/bulk") if "gap" in row["payload"]]
    return {(gap["boot"], seq) for gap in gaps for seq in range(gap["first_seq"], gap["last_seq"] + 1)}


def _check_values(history: History, stream: Mapping[Key, Row], verdict: Verdict) -> None:
    """I1 and I9: what each point's device answered arrived under that point, but for what was in the air when a gateway died."""
    answered = _answered(history)
    arrived = _arrived(stream)
    kills = [event["time"] for event in history.at("killed")]
    writes = defaultdict(list)
    for row in history.writes:
        if "undecodable" not in row:
            writes[row["device"], row["object_type"], row["instance"]].append(datetime.fromisoformat(row["time"]).timestamp())
    lost = 0
    for identity, values in arrived.items():
        expected = answered.get(identity, [])
        unmatched = _match(expected, values, identity, verdict)
        for moment, value in unmatched:
            if any(abs(written - moment) < ROUND_A_WRITE_SECONDS for written in writes.get(identity, ())):
                continue
            lost += 1
            in_the_air = any(0 <= killed - moment <= BEFORE_COMMIT_SECONDS for killed in kills)
            verdict.must(in_the_air, f"I1: {identity} answered {value} at {moment:.3f}, which never arrived")
    never = [identity for identity in answered if identity not in arrived]
    verdict.must(not never, f"I1: nothing arrived of {never[:5]}")
    verdict.figures |= {
        "answers": sum(map(len, answered.values())),
        "readings": sum(map(len, arrived.values())),
        "points": len(arrived),
        "in_the_air_at_kills": lost,
    }


def _match(
    expected: list[tuple[float, float]], values: list[tuple[float, float]], identity: Identity, verdict: Verdict
) -> list[tuple[float, float]]:
    """The answers that no reading is of; each reading must be of one, in their order."""
    unmatched, at = [], 0
    for moment, value in values:
        near = [
            (abs(expected[i][0] - moment), i)
            for i in range(at, min(len(expected), at + 200))
            if expected[i][1] == value and abs(expected[i][0] - moment) < SAME_READ_SECONDS
        ]
        if not near:
            verdict.must(False, f"I9: {identity} had {value} at {moment:.3f}, which its device did not answer")
            continue
        _, found = min(near)
        unmatched += expected[at:found]
        at = found + 1
    return unmatched + expected[at:]


def _answered(history: History) -> dict[Identity, list[tuple[float, float]]]:
    """Per point (time, value) of each answer of a present-value, a repeated request counted once: its last answer.

    A gateway that was started again begins its invoke ids anew.
    """
    starts = [event["time"] for event in history.at("started")]
    began = min(starts)
    values: dict[Identity, list[tuple[float, float]]] = defaultdict(list)
    asked: dict[tuple[Identity, str, int], tuple[float, int]] = {}
    for row in history.answers:
        if row.get("property") != "present-value" or row["error"] is not None:
            continue
        moment = datetime.fromisoformat(row["time"]).timestamp()
        if moment < began:
            continue
        identity = row["device"], row["object_type"], row["instance"]
        request = identity, row["client"], row["invoke_id"]
        before = asked.get(request)
        if before is not None and _is_repeated(before[0], moment, starts) and before[1] == len(values[identity]) - 1:
            values[identity].pop()
        values[identity].append((moment, float(row["value"])))
        asked[request] = moment, len(values[identity]) - 1
    return dict(values)


def _is_repeated(before: float, moment: float, starts: Iterable[float]) -> bool:
    """Whether two answers to one invoke id are to one request."""
    return moment - before < RETRY_SECONDS and not any(before < start < moment for start in starts)


def _arrived(stream: Mapping[Key, Row]) -> dict[Identity, list[tuple[float, float]]]:
    """Per point (time, value) of each good reading, by (boot, seq)."""
    values: dict[Identity, list[tuple[float, float]]] = defaultdict(list)
    for _, message in sorted(stream.items()):
        for point in message["points"]:
            if point["quality"] == "good":
                values[_identity(point)].append((_moment(point), _number(point)))
    return dict(values)


def _check_boots(history: History, verdict: Verdict) -> None:
    """I2: each start has a boot of its own, above all before."""
    online = [
        row["payload"]["boot"]
        for row in history.on("/status/update")
        if row["payload"] is not None and row["payload"]["state"] == "online"
    ]
    verdict.must(online == sorted(online), f"I2: boots do not grow: {online}")
    verdict.must(len(set(online)) <= len(history.at("started")), "I2: more boots than starts")
    verdict.figures["starts"] = len(history.at("started"))


def _check_order(history: History, bulk: Iterable[Row], stream: Mapping[Key, Row], verdict: Verdict) -> None:
    """I3: within one connection what is new comes in order, and so does what is drained beside it; (boot, seq) restores time."""
    seen: set[Key] = set()
    late = 0
    newest: dict[int, Key] = defaultdict(lambda: (0, 0))
    drained: dict[int, Key] = defaultdict(lambda: (0, 0))
    for row in bulk:
        payload, connection = row["payload"], row["connection"]
        if "gap" in payload or (key := (payload["boot"], payload["seq"])) in seen:
            continue
        seen.add(key)
        if key > newest[connection]:
            newest[connection] = key
            continue
        verdict.must(key > drained[connection], f"I3: {key} came after {drained[connection]} on connection {connection}")
        drained[connection] = key
        late += 1
    moments: dict[Identity, tuple[float, Key]] = {}
    for key, message in sorted(stream.items()):
        for point in message["points"]:
            identity, moment = _identity(point), _moment(point)
            before = moments.get(identity, (0.0, (0, 0)))
            verdict.must(moment >= before[0], f"I3: {identity} in {key} is older than in {before[1]}")
            moments[identity] = moment, key
    verdict.figures |= {"connections": len(newest), "drained": late}


def _check_commands(history: History, verdict: Verdict) -> None:
    """I4: at most one write and one final answer for each command; what was expired wrote nothing; leases were released."""
    answers: dict[str, list[Row]] = defaultdict(list)
    duplicates = 0
    for row in history.on("/response"):
        payload = row["payload"]
        if payload.get("state") == "duplicate":
            duplicates += 1
        else:
            answers[payload.get("commandId", "")].append(payload)
    sent: dict[str, Row] = {row["body"]["commandId"]: row for row in history.commands}
    written: dict[float, int] = defaultdict(int)
    for row in history.writes:
        verdict.must("undecodable" not in row, f"I4: an unreadable write: {row}")
        if row.get("value") is not None:
            written[float(row["value"])] += 1
    for command_id, row in sent.items():
        _check_command(command_id, row, answers[command_id], written, verdict)
    known = {float(row["body"]["presentValue"]) for row in sent.values() if "presentValue" in row["body"]}
    verdict.must(written.keys() <= known, f"I4: written by nobody's command: {sorted(written.keys() - known)}")
    _check_leases(history, verdict)
    verdict.figures |= {
        "commands": len(sent),
        "sent_again": len(history.commands) - len(sent),
        "writes": sum(written.values()),
        "duplicate_answers": duplicates,
        "unknown_outcomes": sum(found[0]["state"] == "unknown" for found in answers.values() if found),
    }


def _check_command(command_id: str, row: Row, answers: list[Row], written: Mapping[float, int], verdict: Verdict) -> None:
    distinct = {json.dumps(answer, sort_keys=True) for answer in answers}
    verdict.must(len(distinct) == 1, f"I4: {command_id} has {len(distinct)} final answers: {sorted(distinct)}")
    if "presentValue" not in row["body"]:
        return
    writes = written.get(float(row["body"]["presentValue"]), 0)
    verdict.must(writes <= 1, f"I4: {command_id} was written {writes} times")
    states = {answer["state"] for answer in answers}
    verdict.must(not (states & {"expired", "rejected"} and writes), f"I4: {command_id} is {states} and was written")
    verdict.must(writes == 1 or states != {"done"}, f"I4: {command_id} is done and was never written")
    if row.get("expired"):
        verdict.must(writes == 0, f"I4: {command_id} had expired and was written")


def _check_leases(history: History, verdict: Verdict) -> None:
    slots: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in history.writes:
        if "undecodable" not in row:
            slots[row["device"], row["object_type"], row["instance"], row["priority"]].append(row)
    leased = {float(row["body"]["presentValue"]) for row in history.commands if row["body"].get("leaseSeconds")}
    held = [slot for slot, rows in slots.items() if rows[-1]["value"] is not None and float(rows[-1]["value"]) in leased]
    verdict.must(not held, f"I4: the lease of {held} was never released")
    verdict.figures["leases"] = len(leased)


def _check_database(database: Path, verdict: Verdict) -> None:
    """I6, as far as SQLite itself can say."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        for pragma, well in (("integrity_check", [("ok",)]), ("foreign_key_check", [])):
            found = connection.execute(f"PRAGMA {pragma}").fetchall()
            verdict.must(found == well, f"I6: {pragma} says {found[:3]}")


def _identity(point: Row) -> Identity:
    return int(point["controller_device_id"]), point["bacnet_object_type"], point["point_id"]


def _moment(point: Row) -> float:
    return datetime.fromisoformat(point["acquired_at"]).timestamp()


def _number(point: Row) -> float:
    text = point["present_value"]
    return {"active": 1.0, "inactive": 0.0}[text] if point["bacnet_object_type"].startswith("binary") else float(text)


def _lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> int:
    parser = argparse.ArgumentParser(description="Prove the invariants from a recorded history.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--database", type=Path)
    arguments = parser.parse_args()
    verdict = check(History.read(arguments.directory), database=arguments.database)
    print(json.dumps({"broken": verdict.broken[:50], **verdict.figures}, indent=2))
    return 1 if verdict.broken else 0


if __name__ == "__main__":
    sys.exit(main())
