"""A UDP port that is taken is named with who holds it."""

import os
import socket
import sys

import pytest

from bms_iot.bacnet.network import holders


@pytest.fixture
def taken():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.7.1", 0))
        yield held.getsockname()


@pytest.mark.parametrize("host", ["127.0.7.1", "0.0.0.0"])
def test_our_own_process_is_named_by_number_and_command(taken, host):
    held = holders.holder_of(host, taken[1])
    assert held is not None
    assert f"process {os.getpid()} (" in held
    assert os.path.basename(sys.executable) in held


def test_a_port_on_another_address_is_in_nobodys_way(taken):
    assert holders.holder_of("127.0.7.2", taken[1]) is None


def test_a_process_that_may_not_be_seen_is_known_by_its_user(taken, monkeypatch):
    monkeypatch.setattr(holders, "_open_sockets", lambda: iter(()))
    held = holders.holder_of("127.0.7.1", taken[1])
    assert held is not None
    assert "unknown (other user)" in held


def test_without_a_proc_file_system_nobody_is_named(taken, monkeypatch, tmp_path):
    monkeypatch.setattr(holders, "PROC", tmp_path)
    assert holders.holder_of("127.0.7.1", taken[1]) is None
