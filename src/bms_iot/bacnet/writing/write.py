"""Writing present-values: read what is there, write once, read back, and say who holds the point.

- A write is sent once. When no answer comes, what is read back decides.
- Several writes to one device go as WritePropertyMultiple; what it leaves undone, or a device that has none, is written one by one.
- A priority goes with outputs, and with values unless the device says that they have no priority array; never with inputs.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from bms_iot.bacnet.apdu import Abort, ComplexAck, Error, Reject, SimpleAck
from bms_iot.bacnet.network.npdu import Station
from bms_iot.bacnet.polling.poller import read_properties
from bms_iot.bacnet.polling.profile import Profile
from bms_iot.bacnet.services.reading import PropertyReference
from bms_iot.bacnet.services.writing import (
    PropertyWrite,
    decode_write_property_multiple_error,
    encode_write_property,
    encode_write_property_multiple,
)
from bms_iot.bacnet.transactions.client import Answer, Client, refusal
from bms_iot.bacnet.values.codec import DecodeError, Enumerated, ObjectId, Value
from bms_iot.bacnet.values.text import number_text
from bms_iot.bacnet.writing.commanded import PRESENT_VALUE, Commanded, commanded, references_of
from bms_iot.bacnet.writing.written import WriteJob, outcome_of
from bms_iot.domain.points import ObjectType
from bms_iot.domain.readings import ReadingError
from bms_iot.domain.writing import PointWrite, WriteOutcome, WrittenValue, is_input, is_output
from bms_iot.errors import DeviceUnreachable, MalformedReply

UNRECOGNIZED_SERVICE = 9
READ_BACK_AFTER_SECONDS = (0.0, 0.2, 0.8)
"""Controllers behind a router, and those that scan, show a value a moment after they took it."""

_ABOUT_PARAMETERS = frozenset({7, 16, 45, 80})
"""Error codes inconsistent-parameters, missing-required-parameter, optional-functionality-not-supported, parameter-out-of-range."""


async def write_points(
    client: Client, station: Station, profile: Profile, writes: Sequence[PointWrite], now: Callable[[], datetime]
) -> list[WriteOutcome]:
    """Write, each point once; an outcome for each write, in order.

    Raises DeviceUnreachable when the device does not answer what is asked before: then nothing was written. TransportError.
    """
    started = asyncio.get_running_loop().time()
    asked = [reference for write in writes for reference in references_of(write.point, limits=True)]
    outcomes = (await read_properties(client, station, profile, asked, now)).outcomes
    jobs = [WriteJob(write=write, before=commanded(write.point, outcomes), started=started) for write in writes]
    for job in jobs:
        _plan(job)
    sending = _Sending(client, station, profile)
    await sending.send([job for job in jobs if job.refused is None])
    await _read_back(client, station, profile, [job for job in jobs if not job.is_settled], now)
    return [outcome_of(job, asyncio.get_running_loop().time()) for job in jobs]


def _plan(job: WriteJob) -> None:
    """What to send, or why not to send anything."""
    write, before, value = job.write, job.before, job.write.value
    job.refused = _ruled_out(job.type, before, value)
    if job.refused is None:
        reference = PropertyReference(ObjectId(job.type.number, write.point.object.instance), PRESENT_VALUE)
        job.request = PropertyWrite(reference, _wire_value(job.type, value), None if before.lacks_slots else write.priority)


def _ruled_out(object_type: ObjectType, before: Commanded, value: WrittenValue) -> str | None:
    """Why the value cannot be written by what the device says of the point; None when it can."""
    if value is None:
        return "it has no priority array, so there is nothing to relinquish" if before.lacks_slots else None
    if object_type.is_analog:
        # A device may hold limits the wrong way round, or both 0: then they say nothing.
        low, high = before.low, before.high
        if low is not None and high is not None and low >= high:
            return None
        if low is not None and value < low:
            return f"{number_text(float(value))} is below its min-pres-value, {number_text(low)}"
        if high is not None and value > high:
            return f"{number_text(float(value))} is above its max-pres-value, {number_text(high)}"
    elif not object_type.is_binary and before.states is not None and value > before.states:
        return f"state {value} is beyond its number-of-states, {before.states}"
    return None


def _wire_value(object_type: ObjectType, value: WrittenValue) -> Value:
    if value is None:
        return None
    if object_type.is_analog:
        return float(value)
    return Enumerated(value) if object_type.is_binary else int(value)


class _Sending:
    """Sends the requests of the jobs to one device and notes their answers."""

    def __init__(self, client: Client, station: Station, profile: Profile) -> None:
        self._client, self._station, self._profile = client, station, profile

    async def send(self, jobs: Sequence[WriteJob]) -> None:
        for group in self._groups(jobs):
            waiting = list(group)
            if len(waiting) > 1 and self._profile.has_wpm:
                waiting = await self._multiple(waiting)
            for job in waiting:
                await self._single(job)

    def _groups(self, jobs: Sequence[WriteJob]) -> Iterator[list[WriteJob]]:
        """As many writes at once as the device takes in one APDU."""
        group: list[WriteJob] = []
        for job in jobs:
            if group and len(encode_write_property_multiple(each.planned for each in (*group, job))) > self._profile.max_apdu:
                yield group
                group = []
            group.append(job)
        if group:
            yield group

    async def _multiple(self, jobs: list[WriteJob]) -> list[WriteJob]:
        """Those that are still to be written one by one."""
        answer = await self._transact(encode_write_property_multiple(job.planned for job in jobs))
        match answer:
            case SimpleAck():
                for job in jobs:
                    job.answer = True
            case Error(parameters=parameters):
                return self._part_done(jobs, answer, parameters)
            case Reject(reason=reason):
                self._profile.has_wpm = self._profile.has_wpm and reason != UNRECOGNIZED_SERVICE
                return jobs
            case Abort():
                return jobs
        return []

    def _part_done(self, jobs: list[WriteJob], answer: Error, parameters: bytes) -> list[WriteJob]:
        """Clause 15.10.2: written in order up to the first that failed, which the error names."""
        try:
            error, failed = decode_write_property_multiple_error(parameters)
        except DecodeError:
            error, failed = answer.error, None
        places = [at for at, job in enumerate(jobs) if job.planned.reference == failed]
        if len(places) != 1:
            return jobs
        for job in jobs[: places[0]]:
            job.answer = True
        jobs[places[0]].answer = self._error(Error(invoke_id=0, service=0, error=error))
        return jobs[places[0] + 1 :]

    async def _single(self, job: WriteJob) -> None:
        request = job.planned
        answer = await self._transact(encode_write_property(request))
        if _minds_priority(job, answer):
            job.request = request._replace(priority=None)
            answer = await self._transact(encode_write_property(job.planned))
        match answer:
            case SimpleAck():
                job.answer = True
            case Error() | Reject() | Abort():
                job.answer = self._error(answer)

    async def _transact(self, apdu: bytes) -> Answer | None:
        """The answer; None when none came, or none that can be read. A write is not sent twice."""
        try:
            answer = await self._client.transact(self._station, apdu, tries=1, urgent=True)
        except (DeviceUnreachable, MalformedReply):
            return None
        return None if isinstance(answer, ComplexAck) else answer

    def _error(self, answer: Error | Reject | Abort) -> ReadingError:
        refused = refusal(self._station, answer)
        return ReadingError(error_class=refused.error_class, error_code=refused.error_code)


def _minds_priority(job: WriteJob, answer: Answer | None) -> bool:
    """Nothing was written, by a complaint about parameters, of a value whose priority array the device did not show."""
    about = isinstance(answer, Reject) or (isinstance(answer, Error) and answer.error.error_code in _ABOUT_PARAMETERS)
    may_lack_slots = not is_output(job.type) and not is_input(job.type) and job.before.slots is None
    return about and may_lack_slots and job.planned.priority is not None and job.write.value is not None


async def _read_back(
    client: Client, station: Station, profile: Profile, jobs: Sequence[WriteJob], now: Callable[[], datetime]
) -> None:
    """Note what the points show, again after a moment where it is not what was written."""
    waiting = list(jobs)
    for pause in READ_BACK_AFTER_SECONDS:
        if not waiting:
            return
        await asyncio.sleep(pause)
        asked = [reference for job in waiting for reference in references_of(job.write.point, limits=False)]
        try:
            outcomes = (await read_properties(client, station, profile, asked, now)).outcomes
        except DeviceUnreachable:
            return
        for job in waiting:
            seen = commanded(job.write.point, outcomes)
            job.after = seen if seen.present_value is not None or seen.slots is not None else None
        waiting = [job for job in waiting if job.is_shown is False]
