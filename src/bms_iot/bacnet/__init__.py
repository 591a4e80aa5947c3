"""Our own BACnet/IP client (ASHRAE 135, annex J), pure Python, behind the port `domain.ports.ControllerNetwork`.

Layers, each usable alone: `codec` (tags ⇄ values) · `apdu` (PDUs) · `services` (their parameters) · `network` (BVLC, NPDU, the UDP
port) · `client` (requests and answers) · `poller` (batches, and what a device can take) · `discovery` (who is there, what they
have) · `write` · `cov` · `convert` (values ⇒ readings). Their types do not leave this package.
"""

from bms_iot.bacnet.counters import Counters
from bms_iot.bacnet.edge import BacnetNetwork

__all__ = ["BacnetNetwork", "Counters"]
