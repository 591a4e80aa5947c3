"""Our own BACnet/IP client (ASHRAE 135, annex J), pure Python, behind the port `domain.ports.ControllerNetwork`.

Layers, each usable alone, each knowing only those after it: `edge` (domain values in and out) · `discovery`, `identity`, `shown`,
`writing`, `cov` · `polling` (what a device can take, and many properties at once) · `transactions` (requests and answers) ·
`identifiers` · `network` (UDP, BVLC, NPDU, routers) · `services` (parameters) · `apdu` (PDUs) · `values` (tags ⇄ values). Their
types do not leave this package.
"""

from bms_iot.bacnet.counters import Counters
from bms_iot.bacnet.edge import BacnetNetwork

__all__ = ["BacnetNetwork", "Counters"]
