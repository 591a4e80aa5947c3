"""The program that restarts the box."""

import sys

from structlog.testing import capture_logs

from bms_iot.gateway.host import restart


def test_the_program_is_run_with_its_arguments_and_without_a_shell(tmp_path):
    file = tmp_path / "said $HOME"
    restart(f"{sys.executable} -c \"import sys, pathlib; pathlib.Path(sys.argv[1]).write_text('x')\" '{file}'")
    assert file.read_text() == "x"


def test_a_program_that_fails_or_is_not_there_is_logged_and_nothing_else_happens():
    with capture_logs() as logs:
        restart(f"{sys.executable} -c 'import sys; sys.exit(\"no right\")'")
        restart("/nowhere/reboot now")
    assert [entry["event"] for entry in logs] == ["host_restart_failed"] * 2
    assert "no right" in logs[0]["reason"]
