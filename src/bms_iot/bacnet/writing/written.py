"""A write on its way, and what is said of it in the end."""

from dataclasses import dataclass

from bms_iot.bacnet.services.writing import PropertyWrite
from bms_iot.bacnet.writing.commanded import Commanded
from bms_iot.domain.points import ObjectType
from bms_iot.domain.readings import ReadingError
from bms_iot.domain.writing import PointWrite, WriteOutcome, WriteState, is_input


@dataclass(slots=True, kw_only=True)
class WriteJob:
    """One write on its way. `answer` is True for an acknowledgement, an error for a refusal, None when none came."""

    write: PointWrite
    before: Commanded
    started: float
    request: PropertyWrite | None = None
    answer: bool | ReadingError | None = None
    refused: str | None = None
    after: Commanded | None = None

    @property
    def planned(self) -> PropertyWrite:
        assert self.request is not None, "planned before it is sent"
        return self.request

    @property
    def type(self) -> ObjectType:
        return self.write.point.object.type

    @property
    def is_settled(self) -> bool:
        """Nothing more to write or to read back."""
        return self.refused is not None or isinstance(self.answer, ReadingError)

    @property
    def is_shown(self) -> bool | None:
        priority = None if self.request is None else self.request.priority
        return None if self.after is None else self.after.shows(self.type, self.write.value, priority)


def outcome_of(job: WriteJob, now: float) -> WriteOutcome:
    """What came of the write; `now` is on the clock of `job.started`."""
    state, reason = _state(job)
    after = job.after
    return WriteOutcome(
        write=job.write,
        state=state,
        reason=reason,
        before=job.before.present_value,
        after=None if after is None else after.present_value,
        priority=None if job.request is None else job.request.priority,
        is_acknowledged=job.answer is True,
        is_read_back=job.is_shown is True,
        holder=None if after is None else after.holder(job.type),
        relinquish_default=job.before.relinquish_default if after is None else after.relinquish_default,
        error=job.answer if isinstance(job.answer, ReadingError) else None,
        duration_seconds=round(now - job.started, 6),
    )


def _state(job: WriteJob) -> tuple[WriteState, str]:
    if job.refused is not None:
        return WriteState.REFUSED, job.refused
    match job.answer, job.is_shown:
        case ReadingError() as error, _:
            ended = WriteState.REFUSED, _why_refused(job, error)
        case _, True:
            ended = WriteState.DONE, _who_holds(job)
        case True, None:
            ended = WriteState.DONE, "the device took it; what it shows could not be compared"
        case True, _:
            ended = WriteState.FAILED, f"the device took it, but shows {_shown(job)}"
        case _, None:
            ended = WriteState.UNKNOWN, "no answer to the write, and reading back cannot tell"
        case _:
            ended = WriteState.FAILED, f"no answer to the write, and the device shows {_shown(job)}"
    return ended


def _shown(job: WriteJob) -> str:
    return "no value" if job.after is None or job.after.present_value is None else job.after.present_value


def _why_refused(job: WriteJob, error: ReadingError) -> str:
    reason = f"the device refused: {error.error_class}, {error.error_code}"
    if is_input(job.type) and job.before.is_out_of_service is False:
        reason += "; an input can be written only while it is out of service"
    return reason


def _who_holds(job: WriteJob) -> str:
    """Whether the written value is in effect, and who holds the point when it is not."""
    verb = "relinquished" if job.write.value is None else "written"
    priority = job.planned.priority
    if priority is None or job.after is None or job.after.slots is None:
        return verb
    holder = job.after.holder(job.type)
    if holder is None:
        return f"{verb}; no priority holds the point, it is at its relinquish default"
    if holder.priority < priority:
        return f"{verb} at priority {priority}, but priority {holder.priority} holds the point at {holder.value}"
    if holder.priority > priority:
        return f"{verb} at priority {priority}; priority {holder.priority} holds the point at {holder.value}"
    return f"{verb}; priority {priority} holds the point"
