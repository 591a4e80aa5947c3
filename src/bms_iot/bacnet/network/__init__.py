"""BACnet/IP: datagrams, the network layer, routers and BBMDs (ASHRAE 135 clause 6 and annex J)."""
