"""Addresses as people and the database spell them."""

import pytest

from bms_iot.bacnet.network.addresses import address_of, station_of
from bms_iot.bacnet.network.npdu import Station, remote
from bms_iot.domain.points import DeviceAddress
from bms_iot.errors import DeviceUnreachable


@pytest.mark.parametrize(
    ("address", "station"),
    [
        (DeviceAddress(host="10.0.0.7"), Station("10.0.0.7", 47808)),
        (DeviceAddress(host="10.0.0.7", port=47809), Station("10.0.0.7", 47809)),
        (DeviceAddress(host="2001:0a"), remote(2001, b"\x0a")),
        (DeviceAddress(host="5:0a000007bac0"), remote(5, bytes.fromhex("0a000007bac0"))),
        (DeviceAddress(host="65534:*"), remote(65534, b"")),
        (DeviceAddress(host="*"), Station("", 0)),
    ],
)
def test_an_address_is_one_station_and_back(address, station):
    assert station_of(address) == station
    assert address_of(station) == address


@pytest.mark.parametrize("host", ["2001:0xa0", "2001:A0", "02001:a0"])
def test_other_spellings_of_one_address_are_one_station(host):
    assert address_of(station_of(DeviceAddress(host=host))) == DeviceAddress(host="2001:a0")


@pytest.mark.parametrize("host", ["", "10.0.0.256", "65535:0a", "٣:0a", "-1:0a", "5:0a:0b", "5:", "5:a", "5:0x"])
def test_what_is_no_address_is_unreachable(host):
    with pytest.raises(DeviceUnreachable):
        station_of(DeviceAddress(host=host))
