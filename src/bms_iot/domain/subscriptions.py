"""Changes of value: what is subscribed to, and whether the device keeps its word (ASHRAE 135 clause 13.1)."""

import enum
from collections.abc import Callable
from dataclasses import dataclass

from bms_iot.domain.points import Point
from bms_iot.domain.readings import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class CovTerms:
    """How to subscribe. A subscription lasts `lifetime_seconds` and is renewed at half of them; `confirmed` ones are answered."""

    lifetime_seconds: int = 300
    confirmed: bool = False


class Coverage(enum.Enum):
    """Whether changes of a point are notified."""

    PENDING = "pending"
    """Not yet subscribed, or the device does not answer."""
    COVERED = "covered"
    """Subscribed, and a notification has come since."""
    REFUSED = "refused"
    """The device refused; it is asked again later."""
    SILENT = "silent"
    """The device accepted and does not notify; it is asked again later."""


Deliver = Callable[[Reading], None]
"""Takes a change of value; must not block or raise."""
Report = Callable[[Point, Coverage, str], None]
"""Takes a point whose coverage changed, and why in a few words; must not block or raise."""
