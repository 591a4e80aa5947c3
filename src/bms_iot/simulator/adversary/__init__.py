"""A BACnet/IP device of our own: raw UDP, an encoder of its own, and manners as bad as anybody asks for.

Independent of `bms_iot.bacnet` and of every stack, so that the one can be judged by the other.
"""
