"""Several interfaces of ours in one process, opened as the settings say."""

from pathlib import Path

import pytest

from bms_iot.bacnet import BacnetNetwork
from bms_iot.bootstrap import open_readers
from bms_iot.errors import TransportError
from bms_iot.settings import load_settings
from tests.integration.bacnet_responder import Responder, SystemClock, analog, free_port


def environ(directory: Path, readers: str) -> dict[str, str]:
    return {"HOME": str(directory), "BMS_DATA_DIRECTORY": str(directory), "BMS_BACNET__READERS": readers}


async def test_each_controller_is_read_through_the_interface_of_its_network(tmp_path: Path) -> None:
    port = free_port()
    settings = load_settings(environ(tmp_path, f"127.10.0.1:{port}/16,127.20.0.1:{port}/16"))
    async with (
        Responder({(2, 1): analog(1.0)}, host="127.10.0.7") as near,
        Responder({(2, 1): analog(2.0)}, host="127.20.0.7") as far,
        open_readers(settings) as readers,
    ):
        for device, expected, interface in ((near, "1", "127.10.0.1"), (far, "2", "127.20.0.1")):
            (reading,) = await readers.read_points(device.device, device.points())
            assert reading.present_value == expected
            assert {sender[0] for sender in device.senders} == {interface}


async def test_a_port_that_is_taken_is_named_with_who_holds_it_and_the_other_interfaces_are_opened(tmp_path: Path) -> None:
    port = free_port()
    settings = load_settings(environ(tmp_path, f"127.10.0.1:{port}/16,127.20.0.1:{port}/16"))
    async with BacnetNetwork(host="127.10.0.1", port=port, clock=SystemClock()):
        async with (
            Responder({(2, 1): analog(2.0)}, host="127.20.0.7") as device,
            open_readers(settings) as readers,
        ):
            (reading,) = await readers.read_points(device.device, device.points())
            assert reading.present_value == "2"
        with pytest.raises(TransportError, match=f"127.10.0.1:{port}") as caught:
            async with open_readers(load_settings(environ(tmp_path, f"127.10.0.1:{port}/16"))):
                pass
    assert caught.value.hint is not None
    assert "process " in caught.value.hint
