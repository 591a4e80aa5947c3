"""What is known and learned of each device: how much it can answer at once, and what it does not have."""

from dataclasses import dataclass, field

from bms_iot.bacnet.apdu import MAX_APDU
from bms_iot.bacnet.network.npdu import Station
from bms_iot.bacnet.services.reading import PropertyReference
from bms_iot.bacnet.services.who_is import IAm
from bms_iot.bacnet.values.codec import ObjectId

MIN_APDU = 50
"""The smallest APDU of the standard (clause 20.1.2.5)."""
ROUTED_APDU = 480
"""What every network type carries, MS/TP among them (clause 6.2.4): all that is asked of a device behind a router at once."""
MIN_BUDGET = 24
MAX_PROFILES = 10_000
FORGET_SECONDS = 24 * 3600.0
"""What a device was found not to have is asked again after that, since devices are reprogrammed."""
FIRST_PATIENCE = 50
LAST_PATIENCE = 12_800

PRESENT_VALUE, OBJECT_NAME, OBJECT_LIST = 85, 77, 76
ALWAYS_ASKED = frozenset({PRESENT_VALUE, OBJECT_NAME, OBJECT_LIST})


@dataclass(slots=True)
class Profile:
    """One device. `budget` is how many octets of answer it is asked for at once.

    The budget is halved when the device says, or seems to say, that it is too much; after a number of good answers it is doubled
    again, and each time that proves wrong the number doubles too.
    """

    max_apdu: int = MAX_APDU
    limit: int = MAX_APDU
    """The longest APDU that the way there is trusted with, whatever the device says."""
    segmentation: int = 3
    budget: int = MAX_APDU
    has_rpm: bool = True
    rpm_proven: bool = False
    has_wpm: bool = True
    has_cov: bool | None = None
    is_list_by_index: bool | None = None
    """Gives its object list only index by index."""
    absent: set[PropertyReference] = field(default_factory=set)
    forget_at: float = 0.0
    changes: int = 0
    """Counts the changes of `absent`."""
    _good: int = 0
    _patience: int = FIRST_PATIENCE
    _grown: bool = False

    def introduce(self, i_am: IAm) -> None:
        """Take over what the device says of itself."""
        known = self.max_apdu
        self.max_apdu = min(max(i_am.max_apdu, MIN_APDU), self.limit)
        self.segmentation = i_am.segmentation
        if self.budget == known or self.budget > self.max_apdu:
            self.budget = self.max_apdu

    def shrink(self, octets: int) -> None:
        """An answer of about that many octets was too much."""
        self.budget = max(MIN_BUDGET, min(self.budget, octets) // 2)
        self._good = 0
        if self._grown:
            self._grown = False
            self._patience = min(self._patience * 2, LAST_PATIENCE)

    def succeeded(self) -> None:
        """A ReadPropertyMultiple was answered."""
        self.rpm_proven = True
        if self.budget >= self.max_apdu:
            return
        self._good += 1
        if self._good >= self._patience:
            self._good = 0
            self._grown = True
            self.budget = min(self.max_apdu, self.budget * 2)

    def lacks(self, reference: PropertyReference) -> None:
        """The device said unknown-property."""
        if reference.property not in ALWAYS_ASKED and reference not in self.absent:
            self.absent.add(reference)
            self.changes += 1

    def forget(self, now: float) -> None:
        """Give what the device lacks another chance when the time has come; `now` in seconds of a monotonic clock."""
        if self.forget_at == 0.0:
            self.forget_at = now + FORGET_SECONDS
        elif now >= self.forget_at:
            self.forget_at = now + FORGET_SECONDS
            self.absent.clear()
            self.changes += 1
            self.has_rpm = self.has_wpm = True
            self.has_cov = self.is_list_by_index = None

    @property
    def room(self) -> int:
        """The octets a ReadPropertyMultiple-ACK has for results."""
        return min(self.budget, self.max_apdu) - REPLY_HEADER_OCTETS


def _routed_profile() -> Profile:
    return Profile(max_apdu=ROUTED_APDU, limit=ROUTED_APDU, budget=ROUTED_APDU)


class Profiles:
    """The profiles by station; bounded, the oldest goes first."""

    def __init__(self) -> None:
        self._profiles: dict[Station, Profile] = {}

    def of(self, station: Station, now: float) -> Profile:
        """The profile of `station`, a new one when it is not known."""
        profile = self._profiles.get(station)
        if profile is None:
            if len(self._profiles) >= MAX_PROFILES:
                del self._profiles[next(iter(self._profiles))]
            profile = self._profiles[station] = _routed_profile() if station.network else Profile()
        profile.forget(now)
        return profile

    def introduce(self, station: Station, i_am: IAm) -> None:
        """Note an I-Am of a station we know; strangers are not remembered."""
        if (profile := self._profiles.get(station)) is not None:
            profile.introduce(i_am)


_VALUE_OCTETS = {
    PRESENT_VALUE: 5,
    OBJECT_NAME: 34,
    OBJECT_LIST: 5,
    28: 42,  # description
    36: 2,  # event-state
    81: 1,  # out-of-service
    87: 32,  # priority-array, mostly NULL
    103: 2,  # reliability
    111: 3,  # status-flags
    117: 2,  # units
    130: 36,  # event-time-stamps
    351: 60,  # event-message-texts
    352: 60,  # event-message-texts-config
}
_OBJECT_OCTETS = 7
"""The object identifier and the tags around its results."""
REPLY_HEADER_OCTETS = 3
_DISCRETE = frozenset({3, 4, 5, 13, 14, 19})


def estimate(reference: PropertyReference, previous: ObjectId | None) -> int:
    """About how many octets `reference` takes in a ReadPropertyMultiple-ACK after one of the object `previous`."""
    number = reference.property
    octets = _VALUE_OCTETS.get(number, 5)
    if number == PRESENT_VALUE and reference.object.type in _DISCRETE:
        octets = 2
    octets += 4 if number < 256 else 5
    if reference.array_index is not None:
        octets += 2 if reference.array_index < 256 else 3 if reference.array_index < 65536 else 4
    return octets if reference.object == previous else octets + _OBJECT_OCTETS
