"""What was learned of a device: how much it can answer at once, and what it does not have."""

from dataclasses import dataclass
from datetime import datetime

from bms_iot.domain.points import ObjectIdentifier


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsentProperty:
    """A property that an object was found not to have; `property` as ASHRAE 135 clause 21 numbers it."""

    object: ObjectIdentifier
    property: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedProfile:
    """What is known of one device at one address. None is what is not known yet."""

    max_apdu: int
    """Octets (ASHRAE 135 clause 12.11.18)."""
    segmentation: str
    """`both`, `transmit`, `receive` or `none`."""
    budget: int
    """Octets of answer it is asked for at once."""
    learned_at: datetime
    """Aware UTC: when learning began anew. What is older than a day is asked again."""
    has_rpm: bool | None = None
    """Answers ReadPropertyMultiple."""
    proven_window: int | None = None
    """Segments it was seen to take before an acknowledgement."""
    has_cov: bool | None = None
    """Takes SubscribeCOV."""
    is_list_by_index: bool | None = None
    """Gives its object list only index by index."""
    absent: frozenset[AbsentProperty] = frozenset()
