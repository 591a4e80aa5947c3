"""`bms-iot simulate` as a process."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

PROGRAM = "import typer; from bms_iot.cli.simulate import simulate; app = typer.Typer(); app.command()(simulate); app()"
SECONDS = 30


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process once it answers, and its UDP port."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "--port", "0", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert "answer on UDP port" in first, first + process.stderr.read()
        yield process, int(first.split("UDP port ")[1].split(";")[0])
    finally:
        process.kill()
        process.communicate(timeout=SECONDS)


def said(process: subprocess.Popen[str], text: str) -> str:
    """The first line of stderr from here on that has `text`."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return line
    raise AssertionError(f"{text!r} was never said")


def i_am(port: int, host: str = "127.0.2.3", seconds: float = 5.0) -> bool:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as udp:
        udp.settimeout(seconds)
        udp.sendto(bytes.fromhex("810a0008 0100 1008"), (host, port))
        try:
            return udp.recv(100)[6:8] == b"\x10\x00"
        except TimeoutError:
            return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_until_a_signal_ends_it_cleanly(number):
    with running("--speed", "60") as (process, port):
        assert i_am(port)
        process.send_signal(number)
        assert process.wait(timeout=SECONDS) == 0


def test_faults_are_set_by_option_and_changed_by_lines_on_standard_input():
    with running("--misbehave", "2003:silent") as (process, port):
        assert process.stdin is not None
        assert not i_am(port, seconds=0.3)
        process.stdin.write("heal 2003\n")
        process.stdin.flush()
        said(process, "2003 behaves")
        assert i_am(port)
        process.stdin.write("loud 2003\nslow=0.1 2004\n")
        process.stdin.flush()
        assert "'loud' is no fault" in said(process, "not understood")
        said(process, "2004 misbehaves")


def test_it_logs_answers_in_test_mode_and_stops_after_the_seconds_given(tmp_path):
    log_path = tmp_path / "answers.jsonl"
    with running("--test-mode", "--log", str(log_path), "--seconds", "3") as (process, port):
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as udp:
            udp.settimeout(5)
            udp.sendto(bytes.fromhex("810a0011 0104 0005 01 0c 0c00000001 1955"), ("127.0.2.1", port))
            octets = udp.recv(100)
        assert process.wait(timeout=SECONDS) == 0
    (line,) = [json.loads(line) for line in log_path.read_text().splitlines()]
    assert line["octets"] == octets[-6:-1].hex()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--misbehave", "2003"),
        ("--misbehave", "2003:loud"),
        ("--misbehave", "1:silent"),
        ("--devices", "0"),
        ("--devices", "2000", "--points", "4000"),
        ("--speed", "fast"),
        ("--port", "99999"),
    ],
)
def test_wrong_values_end_with_status_2_and_words(arguments):
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--port", "0", *arguments], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert ended.returncode == 2
    assert "Invalid value" in ended.stderr


def test_an_ill_mannered_device_joins_the_others_on_request():
    with running("--devices", "1", "--ill-mannered", "nan", "--ill-mannered", "no-rpm+slow=0.2") as (process, port):
        assert "2003" in said(process, "no-rpm+slow=0.2")
        assert i_am(port)


def test_the_manners_are_explained():
    explained = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--list-manners"], capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert "truncated-object-list" in explained.stdout
    assert "slow=8 " in explained.stdout


def test_an_unknown_manner_is_refused_with_those_there_are():
    refused = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--ill-mannered", "rude"], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert refused.returncode == 2
    assert "no-rpm" in refused.stderr
