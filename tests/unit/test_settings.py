"""Settings come from environment, file and credentials, and say where a wrong one was set."""

from pathlib import Path

import pytest

from bms_iot.errors import ConfigurationError
from bms_iot.settings import database_url, load_settings


def environ(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(tmp_path), "BMS_DATA_DIRECTORY": str(tmp_path / "data"), **more}


def test_the_environment_wins_over_the_file(tmp_path):
    file = tmp_path / "data" / "settings.toml"
    file.parent.mkdir()
    file.write_text('site_id = "from-file"\n[mqtt]\nhost = "broker.file"\nport = 1000\n')
    settings = load_settings(environ(tmp_path, BMS_MQTT__HOST="broker.env"))
    assert (settings.mqtt.host, settings.mqtt.port, settings.site_id) == ("broker.env", 1000, "from-file")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("BMS_MQTT__PORT", "99999", "BMS_MQTT__PORT: mqtt.port"),
        ("BMS_MQTT__HOTS", "x", "BMS_MQTT__HOTS: mqtt.hots: is not a setting"),
        ("BMS_FOO", "x", "BMS_FOO: foo: is not a setting"),
        ("BMS_ORGANIZATION_ID", "acme", "organization_id: must start with org_"),
        ("BMS_SITE_ID", "a/b", "site_id: must not contain / + #"),
        ("BMS_SITE_ID", "  ", "site_id: must not be blank"),
        ("BMS_DATABASE_URL", "sqlite:///x.db", "database_url: must name a file by its absolute path"),
        ("BMS_DATABASE_URL", "mysql://h/x", "database_url: mysql is not supported"),
        ("BMS_DATABASE_URL", "nonsense", "database_url: is not a database URL"),
        ("BMS_BACNET__ADDRESS", "10.0.0", "bacnet.address"),
        ("BMS_BACNET__READERS", "10.0.0.1", "ADDRESS[:PORT]/PREFIX"),
        ("BMS_BACNET__READERS", "10.0.0.1/24,10.0.0.1/16", "an interface is there twice"),
        ("BMS_BACNET__BBMD", "bbmd.example", "bacnet.bbmd"),
        ("BMS_BACNET__BBMD_TTL_SECONDS", "5", "bacnet.bbmd_ttl_seconds"),
        ("BMS_MQTT__CLIENT_KEY", "/k.pem", "client_certificate and client_key go together"),
        ("BMS_POLLING__INTERVAL_SECONDS", "0", "polling.interval_seconds"),
        ("BMS_MQTT", "x", "BMS_MQTT"),
    ],
)
def test_a_wrong_key_or_value_exits_78_and_is_named(tmp_path, name, value, says):
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ(tmp_path, **{name: value}))
    assert says in str(caught.value)
    assert caught.value.exit_code == 78


def test_a_wrong_key_in_the_file_names_the_file(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text("[polling]\ninterval = 3\n")
    with pytest.raises(ConfigurationError, match=r"s\.toml: polling\.interval: is not a setting"):
        load_settings(environ(tmp_path, BMS_SETTINGS_FILE=str(file)))


def test_a_secret_comes_from_a_file_and_shows_nowhere(tmp_path):
    secret = tmp_path / "password"
    secret.write_text("hunter2-canary\n")
    settings = load_settings(environ(tmp_path, BMS_MQTT__USERNAME="u", BMS_MQTT__PASSWORD_FILE=str(secret)))
    assert settings.mqtt.password is not None
    assert settings.mqtt.password.get_secret_value() == "hunter2-canary"
    assert "canary" not in repr(settings)


def test_a_secret_comes_from_the_credentials_directory(tmp_path):
    (tmp_path / "mqtt.password").write_text("from-credentials")
    settings = load_settings(environ(tmp_path, BMS_MQTT__USERNAME="u", CREDENTIALS_DIRECTORY=str(tmp_path)))
    assert settings.mqtt.password is not None
    assert settings.mqtt.password.get_secret_value() == "from-credentials"


def test_an_invalid_secret_is_not_repeated_in_the_error(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ(tmp_path, BMS_MQTT__PASSWORD="hunter2-canary"))
    assert "canary" not in str(caught.value)


def test_names_of_older_versions_still_count_and_newer_ones_win(tmp_path):
    older = {"BMS_ORG_ID": "org_old", "MQTT_BROKER_HOST": "old", "MQTT_BROKER_PORT": "1999", "MQTT_USE_TLS": "true"}
    settings = load_settings(environ(tmp_path, **older, BMS_MQTT__HOST="new"))
    assert (settings.organization_id, settings.mqtt.host, settings.mqtt.port, settings.mqtt.tls) == ("org_old", "new", 1999, True)


@pytest.mark.parametrize(
    ("host", "tls", "port"), [("broker.example", True, 8883), ("127.0.0.1", False, 1883), ("localhost", False, 1883)]
)
def test_tls_is_on_except_towards_this_machine(tmp_path, host, tls, port):
    settings = load_settings(environ(tmp_path, BMS_MQTT__HOST=host))
    assert (settings.mqtt.uses_tls, settings.mqtt.effective_port) == (tls, port)


def test_the_default_database_lies_in_the_state_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    url, explicit = database_url({"HOME": str(tmp_path), "STATE_DIRECTORY": str(tmp_path / "state")})
    assert (url, explicit) == (f"sqlite+aiosqlite:///{tmp_path}/state/bms_bacnet.db", False)


def test_a_database_where_older_versions_kept_it_is_not_passed_over_in_silence(tmp_path, monkeypatch):
    (tmp_path / "bms_bacnet.db").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="older versions kept it") as caught:
        database_url(environ(tmp_path))
    assert f"BMS_DATABASE_URL=sqlite+aiosqlite:///{tmp_path}/bms_bacnet.db" in str(caught.value.hint)
    explicit = f"sqlite+aiosqlite:///{tmp_path}/bms_bacnet.db"
    assert database_url(environ(tmp_path, BMS_DATABASE_URL=explicit)) == (explicit, True)


def test_what_may_be_written_is_read_from_the_settings(tmp_path):
    values = {
        "BMS_WRITES__ENABLED": "true",
        "BMS_WRITES__POINTS": "1200/AO/*, */AV/*setpoint*",
        "BMS_WRITES__RANGES": "18..26 */AV/*setpoint*, ..80 */AO",
        "BMS_WRITES__PRIORITY_FLOOR": "10",
    }
    writes = load_settings(environ(tmp_path, **values)).writes
    assert (writes.rules.is_enabled, writes.rules.priority_floor, writes.rules.default_priority) == (True, 10, 10)
    assert [str(pattern) for pattern in writes.rules.points] == ["1200/AO/*", "*/AV/*setpoint*"]
    assert [str(limits) for limits in writes.rules.ranges] == ["18..26 */AV/*setpoint*", "..80 */AO/*"]
    assert load_settings(environ(tmp_path)).writes.rules.is_enabled is False
    assert load_settings(environ(tmp_path)).writes.rules.default_priority == 8


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BMS_WRITES__POINTS", "a/b/"),
        ("BMS_WRITES__RANGES", "18-26 */AV"),
        ("BMS_WRITES__PRIORITY_FLOOR", "0"),
        ("BMS_WRITES__DEFAULT_PRIORITY", "7"),
        ("BMS_WRITES__PER_MINUTE", "0"),
        ("BMS_REBOOT__HOST_COMMAND", "'"),
    ],
)
def test_a_wrong_rule_of_writing_is_named(tmp_path, name, value):
    with pytest.raises(ConfigurationError, match=name):
        load_settings(environ(tmp_path, **{name: value}))
