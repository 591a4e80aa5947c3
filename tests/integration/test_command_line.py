"""The command line as a person meets it: settings, refusals, exit codes."""

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

LEGACY = Path(__file__).parent.parent / "migration" / "legacy"
CHECKOUT = Path(__file__).parent.parent.parent


@pytest.fixture
def place(tmp_path):
    """An empty home and working directory."""
    (tmp_path / "work").mkdir()
    return tmp_path


def bms(place, *arguments, stdin="", module="bms_iot", cwd=None, **environment):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BMS_", "MQTT_", "XDG_"))}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**inherited, "HOME": str(place), **environment},
        cwd=cwd or place / "work",
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_is_set_is_shown_with_its_origin(place):
    assert bms(place, "config", "set", "mqtt.host", "broker.example").returncode == 0
    assert bms(place, "config", "set", "polling.interval_seconds", "5").returncode == 0
    shown = json.loads(bms(place, "config", "show", "--json", BMS_SITE_ID="north").stdout)
    file = place / ".local" / "share" / "bms-iot" / "settings.toml"
    assert shown["mqtt.host"] == {"value": "broker.example", "origin": str(file)}
    assert shown["site_id"] == {"value": "north", "origin": "BMS_SITE_ID"}
    assert shown["mqtt.keep_alive_seconds"]["origin"] == "default"
    assert "interval_seconds = 5.0" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_site_that_looks_like_a_number_stays_a_text(place):
    assert bms(place, "config", "set", "site_id", "0042").returncode == 0
    assert json.loads(bms(place, "config", "show", "--json").stdout)["site_id"]["value"] == "0042"


def test_a_wrong_value_is_refused_and_the_file_is_as_before(place):
    bms(place, "config", "set", "mqtt.host", "broker.example")
    file = place / ".local" / "share" / "bms-iot" / "settings.toml"
    before = file.read_bytes()
    done = bms(place, "config", "set", "mqtt.port", "many")
    assert (done.returncode, "mqtt.port" in done.stderr) == (78, True)
    assert file.read_bytes() == before


def test_an_unknown_key_is_a_usage_error_that_says_where_keys_are_listed(place):
    done = bms(place, "config", "set", "mqtt.hots", "x")
    assert done.returncode == 2
    assert "bms-iot config show" in done.stderr


def test_a_secret_is_never_taken_from_the_command_line_nor_shown(place):
    bms(place, "config", "set", "mqtt.username", "u")
    assert bms(place, "config", "set", "mqtt.password", "hunter2-canary").returncode == 2
    assert bms(place, "config", "set", "mqtt.password", stdin="hunter2-canary\n").returncode == 0
    for arguments in (("config", "show"), ("config", "show", "--json"), ("config", "validate"), ("run",)):
        done = bms(place, *arguments)
        assert "canary" not in done.stdout + done.stderr


def test_a_password_in_the_database_url_is_not_shown(place):
    done = bms(place, "config", "show", BMS_DATABASE_URL="postgresql+asyncpg://u:canary@h/db")
    assert done.returncode == 0
    assert "canary" not in done.stdout + done.stderr


def test_validate_names_what_is_missing_until_nothing_is(place):
    done = bms(place, "config", "validate")
    assert done.returncode == 78
    for key in ("organization_id", "site_id", "device_id", "mqtt.host"):
        assert key in done.stderr
        assert bms(place, "config", "set", key, "org_x").returncode == 0
    assert bms(place, "config", "validate").returncode == 0


@pytest.mark.parametrize("module", ["bms_iot", "src.main"])
def test_the_gateway_does_not_start_without_a_database_and_creates_none(place, module):
    done = bms(place, *(["run"] if module == "bms_iot" else []), module=module, cwd=CHECKOUT)
    assert done.returncode == 17
    assert "bms-iot db upgrade" in done.stderr
    assert not list(place.rglob("*.db"))


def test_the_gateway_does_not_start_on_an_older_schema_and_changes_nothing(place):
    file = place / "old.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript((LEGACY / "at_f0a65dd2e313.sql").read_text(encoding="utf-8"))
    before = file.read_bytes()
    done = bms(place, "run", BMS_DATABASE_URL=f"sqlite+aiosqlite:///{file}")
    assert done.returncode == 17
    assert "bms-iot db upgrade" in done.stderr
    assert file.read_bytes() == before
    assert [path.name for path in place.glob("old.db*")] == ["old.db"]


def test_a_provisioned_gateway_without_a_usable_address_says_what_is_wrong(place):
    assert bms(place, "db", "upgrade").returncode == 0
    done = bms(
        place, "run", BMS_ORGANIZATION_ID="org_x", BMS_SITE_ID="s", BMS_DEVICE_ID="d", BMS_MQTT__HOST="127.0.0.1",
        BMS_BACNET__ADDRESS="203.0.113.7",
    )  # fmt: skip
    assert done.returncode == 1
    assert "203.0.113.7" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unprovisioned_gateway_exits_78_and_names_the_next_command(place):
    assert bms(place, "db", "upgrade").returncode == 0
    done = bms(place, "run")
    assert (done.returncode, "bms-iot config set mqtt.host" in done.stderr) == (78, True)


def test_discovering_an_address_where_nobody_is_says_so(place):
    done = bms(
        place,
        "bacnet",
        "discover",
        "--address",
        "127.0.9.9:47999",
        "--wait",
        "0.2",
        BMS_BACNET__ADDRESS="127.0.0.1",
        BMS_BACNET__PORT="47998",
    )
    assert done.returncode == 1
    assert "no device answered at 127.0.9.9:47999" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("bacnet", "discover", "--address", "x"), ("bacnet", "discover", "--low", "5"), ("frobnicate",)]
)
def test_wrong_use_exits_2_without_a_traceback(place, arguments):
    done = bms(place, *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_named(place):
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        done = bms(place, "bacnet", "discover", "--wait", "0.2", BMS_BACNET__ADDRESS="127.0.0.1", BMS_BACNET__PORT=str(port))
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr


@pytest.mark.parametrize("group", [(), ("db",), ("config",), ("bacnet",), ("points",), ("run",), ("simulate",), ("demo",)])
def test_help_fits_80_columns(place, group):
    done = bms(place, *group, "--help", COLUMNS="80", NO_COLOR="1")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_database_of_an_older_version_in_the_working_directory_is_not_passed_over(place):
    shutil.copy(LEGACY / "wedged_empty.sql", place / "work" / "bms_bacnet.db")
    done = bms(place, "db", "upgrade")
    assert done.returncode == 78
    assert "older versions kept it" in done.stderr
    assert "BMS_DATABASE_URL" in done.stderr


def test_an_empty_value_takes_a_setting_back(place):
    bms(place, "config", "set", "bacnet.broadcast", "10.0.0.255")
    assert bms(place, "config", "set", "bacnet.broadcast", "").returncode == 0
    assert json.loads(bms(place, "config", "show", "--json").stdout)["bacnet.broadcast"] == {"value": None, "origin": "default"}


def test_a_refused_value_is_not_blamed_on_a_variable_nobody_set(place):
    done = bms(place, "config", "set", "bacnet.broadcast", "10.0.0.255:47808")
    assert done.returncode == 78
    assert "BMS_" not in done.stderr


def test_validate_opens_the_certificates(place):
    provisioned = {"BMS_ORGANIZATION_ID": "org_x", "BMS_SITE_ID": "s", "BMS_DEVICE_ID": "d", "BMS_MQTT__HOST": "broker.example"}
    done = bms(place, "config", "validate", BMS_MQTT__CA_CERTIFICATE="/nosuch.pem", **provisioned)
    assert (done.returncode, "/nosuch.pem" in done.stderr) == (78, True)


def test_a_second_gateway_on_one_data_directory_is_refused(place):
    from bms_iot.bootstrap import only_one

    assert bms(place, "db", "upgrade").returncode == 0
    with only_one(place / ".local" / "share" / "bms-iot"):
        done = bms(place, "run", BMS_ORGANIZATION_ID="org_x", BMS_SITE_ID="s", BMS_DEVICE_ID="d", BMS_MQTT__HOST="127.0.0.1")
    assert done.returncode == 12
    assert "already runs" in done.stderr


def test_a_snapshot_is_not_put_under_a_running_gateway(place):
    from bms_iot.bootstrap import only_one

    assert bms(place, "db", "upgrade").returncode == 0
    assert bms(place, "db", "backup", str(place / "copy.db")).returncode == 0
    with only_one(place / ".local" / "share" / "bms-iot"):
        done = bms(place, "db", "restore", str(place / "copy.db"))
    assert (done.returncode, "already runs" in done.stderr) == (12, True)
    assert bms(place, "db", "restore", str(place / "copy.db")).returncode == 0


def test_a_misspelt_directory_does_not_start_an_empty_database(place):
    done = bms(place, "db", "upgrade", BMS_DATABASE_URL=f"sqlite+aiosqlite:///{place}/dta/bms_bacnet.db")
    assert (done.returncode, "there is no directory" in done.stderr) == (78, True)
    assert not (place / "dta").exists()


def test_a_data_directory_is_made_for_its_owner_only_or_refused_in_a_sentence(place):
    assert bms(place, "db", "upgrade").returncode == 0
    assert stat.S_IMODE((place / ".local" / "share" / "bms-iot").stat().st_mode) == 0o700
    (place / "file").touch()
    done = bms(place, "db", "upgrade", BMS_DATA_DIRECTORY=str(place / "file" / "data"))
    assert done.returncode == 78
    assert "Traceback" not in done.stderr
