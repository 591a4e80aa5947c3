"""Identifiers as people spell them.

| of | spelled |
|---|---|
| an object | `AI1` `AI:1` `analog-input,1` `analogInput 1` `analog-input:1` `0:1` `(analog-input, 1)` |
| a property | `present-value` `presentValue` `85`, an element of an array `priority-array[3]` |
| a device | `1200` (its instance), `192.168.1.10`, `192.168.1.10:47809`, `2001:0c` (network and MAC address behind a router) |

Every parser raises InvalidInput.
"""

import difflib
import ipaddress
import re
from collections.abc import Iterable, Mapping

from bms_iot.bacnet.network.addresses import EVERYBODY
from bms_iot.bacnet.values import names
from bms_iot.domain.identifiers import MAX_INSTANCE, AnyObject, AnyProperty
from bms_iot.domain.points import DEFAULT_PORT, DeviceAddress, kebab_case
from bms_iot.errors import InvalidInput

MAX_OBJECT_TYPE = 1023
MAX_NETWORK = 65_534
MAX_MAC_OCTETS = 18

SHORT_TYPES = {
    "ai": 0, "ao": 1, "av": 2, "bi": 3, "bo": 4, "bv": 5, "cal": 6, "dev": 8, "msi": 13, "mi": 13, "mso": 14, "mo": 14, "nc": 15,
    "prg": 16, "sch": 17, "msv": 19, "mv": 19, "tl": 20, "acc": 23, "csv": 40, "iv": 45, "lav": 46, "piv": 48,
}  # fmt: skip

_OBJECT = re.compile(r"([a-z][a-z_\- ]*?)[\s,:_\-]*(\d+)|(\d+)\s*[\s,:]\s*(\d+)", re.IGNORECASE | re.ASCII)
_PROPERTY = re.compile(r"(\d+|[a-z][a-z0-9_\- ]*?)\s*(?:\[\s*(\d+)\s*\])?", re.IGNORECASE | re.ASCII)
_OBJECT_HINT = "objects are spelled AI1, analog-input:1 or 0:1"
_PROPERTY_HINT = "properties are spelled present-value, 85 or priority-array[3]"
_DEVICE_HINT = "give a device instance such as 1200, an address such as 192.168.1.10, or 2001:0c for one behind a router"


def _key(name: str) -> str:
    """Spelling without what differs between the ways to write a name of several words."""
    return re.sub(r"[\s_\-]", "", name).lower()


def _by_key(table: Mapping[int, str]) -> dict[str, int]:
    return {_key(name): number for number, name in sorted(table.items(), reverse=True)}


_TYPES = {**_by_key(names.OBJECT_TYPES), **SHORT_TYPES}
_PROPERTIES = _by_key(names.PROPERTIES)


def parse_object(text: str) -> AnyObject:
    """An object of any type."""
    bare = text.strip()
    if bare[:1] + bare[-1:] == "()":
        bare = bare[1:-1].strip()
    matched = _OBJECT.fullmatch(bare)
    if matched is None:
        raise InvalidInput(f"{text!r} is no object: it takes a type and an instance", hint=_OBJECT_HINT)
    name, instance = matched[1] or matched[3], int(matched[2] or matched[4])
    number = int(name) if name.isdecimal() else _TYPES.get(_key(name))
    if number is None:
        raise InvalidInput(
            f"{text!r} is no object: there is no type {name!r}", hint=_near(name, names.OBJECT_TYPES.values()) or _OBJECT_HINT
        )
    if number > MAX_OBJECT_TYPE:
        raise InvalidInput(f"{text!r} is no object: types are numbered 0 to {MAX_OBJECT_TYPE}", hint=_OBJECT_HINT)
    if instance > MAX_INSTANCE:
        raise InvalidInput(f"{text!r} is no object: instances are 0 to {MAX_INSTANCE}", hint=_OBJECT_HINT)
    return AnyObject(type=number, instance=instance)


def parse_property(text: str) -> AnyProperty:
    """A property of any object, or an element of an array."""
    matched = _PROPERTY.fullmatch(text.strip())
    if matched is None:
        raise InvalidInput(f"{text!r} is no property", hint=_PROPERTY_HINT)
    name, index = matched[1], None if matched[2] is None else int(matched[2])
    number = int(name) if name.isdecimal() else _PROPERTIES.get(_key(name))
    if number is None:
        raise InvalidInput(f"there is no property {name!r}", hint=_near(name, names.PROPERTIES.values()) or _PROPERTY_HINT)
    if number > MAX_INSTANCE + 1:
        raise InvalidInput(f"there is no property {name}: they are numbered 0 to {MAX_INSTANCE + 1}", hint=_PROPERTY_HINT)
    if index is not None and index >= 2**32:
        raise InvalidInput(f"{text!r}: an array has no element {index}", hint=_PROPERTY_HINT)
    return AnyProperty(number=number, index=index)


def parse_device(text: str) -> int | DeviceAddress:
    """A device instance, or where a device is."""
    bare = text.strip()
    if bare.isascii() and bare.isdecimal():
        if int(bare) > MAX_INSTANCE:
            raise InvalidInput(f"{text!r} is no device instance: they are 0 to {MAX_INSTANCE}", hint=_DEVICE_HINT)
        return int(bare)
    return parse_address(bare)


def parse_address(text: str) -> DeviceAddress:
    """`IP`, `IP:PORT`, or `NETWORK:MAC` behind a router, the MAC address in hexadecimal or as `IP:PORT`.

    For Who-Is: `*` is everybody of our own network, `NETWORK:*` of that network.
    """
    host, _, rest = text.strip().partition(":")
    if text.strip() == EVERYBODY:
        return DeviceAddress(host=EVERYBODY)
    if host.isascii() and host.isdecimal():
        if rest == EVERYBODY:
            return DeviceAddress(host=f"{_network(host, text)}:{EVERYBODY}")
        return DeviceAddress(host=f"{_network(host, text)}:{_mac(rest, text)}")
    return _ip(host, rest, text)


def _ip(host: str, port: str, text: str) -> DeviceAddress:
    try:
        number = int(port or DEFAULT_PORT)
        if not 0 < number < 65_536:
            raise ValueError(port)
        return DeviceAddress(host=str(ipaddress.IPv4Address(host)), port=number)
    except ValueError:
        raise InvalidInput(f"{text!r} is no device and no address", hint=_DEVICE_HINT) from None


def _network(number: str, text: str) -> int:
    if not 1 <= int(number) <= MAX_NETWORK:
        raise InvalidInput(f"{text!r} is no address: networks are 1 to {MAX_NETWORK}", hint=_DEVICE_HINT)
    return int(number)


def _mac(mac: str, text: str) -> str:
    """The MAC address in hexadecimal: one octet of MS/TP, six of BACnet/IP."""
    if "." in mac:
        address = _ip(*mac.partition(":")[::2], text)
        return (ipaddress.IPv4Address(address.host).packed + address.port.to_bytes(2, "big")).hex()
    octets = mac.lower().removeprefix("0x").replace("-", "").replace(":", "")
    octets = octets if len(octets) != 1 else f"0{octets}"
    if not re.fullmatch(r"([0-9a-f]{2}){1,%d}" % MAX_MAC_OCTETS, octets):  # noqa: UP031 - braces are the pattern's
        raise InvalidInput(f"{text!r} is no address: {mac!r} is no MAC address in hexadecimal", hint=_DEVICE_HINT)
    return octets


def _near(name: str, known: Iterable[str]) -> str | None:
    spellings = {_key(each): kebab_case(each) for each in known}
    close = difflib.get_close_matches(_key(name), spellings, n=2)
    return f"did you mean {' or '.join(spellings[each] for each in close)}?" if close else None


def object_text(identifier: AnyObject) -> str:
    """`analog-input:1`, a vendor's type as its number."""
    return f"{kebab_case(names.name_of(names.OBJECT_TYPES, identifier.type))}:{identifier.instance}"


def property_text(wanted: AnyProperty) -> str:
    """`present-value`, `priority-array[3]`, a vendor's property as its number."""
    name = kebab_case(names.name_of(names.PROPERTIES, wanted.number))
    return name if wanted.index is None else f"{name}[{wanted.index}]"
