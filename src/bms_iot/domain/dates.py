"""Which messages carry times of a clock that nobody vouched for, and by how much those are wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from bms_iot.domain.readings import Reading

NO_SHIFT = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyDates:
    """The messages of one boot up to `until_seq` (None: every one so far) were dated before the clock was trusted.

    `shift` is what is to be added to their times; None while nobody knows.
    """

    until_seq: int | None = None
    shift: timedelta | None = None

    @property
    def mark(self) -> str:
        """What the wire says of such a message."""
        return "untrusted" if self.shift is None else "corrected"


class Dates:
    """The early dates by boot; a boot that is not named was dated by a trusted clock from its start.

    `turned` is, for a short while, when the clock began to be trusted by its times before, and by how much those were too early.
    """

    def __init__(
        self, early: Mapping[int, EarlyDates] = MappingProxyType({}), *, turned: tuple[datetime, timedelta] | None = None
    ) -> None:
        self.early: Mapping[int, EarlyDates] = early
        self._turned = turned

    def of(self, boot: int, seq: int) -> EarlyDates | None:
        """What is to be known of the times in this message; None where they are right."""
        early = self.early.get(boot)
        return early if early is not None and (early.until_seq is None or seq <= early.until_seq) else None

    def right(self, boot: int, seq: int, moment: datetime) -> datetime | None:
        """A moment this message was dated with, as it really was; None where nobody knows."""
        early = self.of(boot, seq)
        if early is None:
            return moment
        return None if early.shift is None else moment + early.shift

    def settle(self, readings: Sequence[Reading]) -> Sequence[Reading]:
        """These with the right times, where they were in the air while the clock was put right."""
        if self._turned is None:
            return readings
        ended, shift = self._turned
        began = ended + shift
        return [r.later(shift) if abs(r.acquired_at - ended) < abs(r.acquired_at - began) else r for r in readings]
