"""What a terminal gets, and what a pipe gets."""

import os
import pty
import subprocess
import sys

import pytest

from bms_iot.cli.bacnet_device import fit

LOGS = """
import structlog
from bms_iot.cli.log import configure
from bms_iot.sections import LogSettings
configure(LogSettings(format="console"))
structlog.get_logger().warning("heard")
"""


def test_a_line_is_cut_with_an_ellipsis_on_a_terminal_and_whole_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert fit("x" * 200) == "x" * 200
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert fit("x" * 200) == "x" * 79 + "…"
    assert fit("x" * 80) == "x" * 80


@pytest.mark.parametrize(("setting", "is_terminal", "coloured"), [("", True, True), ("1", True, False), ("", False, False)])
def test_logs_are_coloured_on_a_terminal_that_wants_it(setting: str, is_terminal: bool, coloured: bool) -> None:
    ours, theirs = pty.openpty() if is_terminal else os.pipe()
    subprocess.run([sys.executable, "-c", LOGS], env={**os.environ, "NO_COLOR": setting}, stderr=theirs, check=True)
    written = os.read(ours, 4096)
    os.close(ours)
    os.close(theirs)
    assert b"heard" in written
    assert (b"\x1b[" in written) is coloured
