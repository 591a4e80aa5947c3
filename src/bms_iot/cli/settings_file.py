"""Writing the settings file: checked as a whole before, atomic, readable by its owner only."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from bms_iot.errors import ConfigurationError
from bms_iot.settings import PREFIX, Settings, load_settings, settings_file


def write_settings(environ: Mapping[str, str], values: Mapping[str, str]) -> Path:
    """Set these dotted keys, or take those back whose value is empty, and return the file.

    Raises ConfigurationError, nothing changed, when the result would not be valid.
    """
    path = settings_file(environ)
    document = _document(path)
    checked = _checked(environ, values)
    for key, value in values.items():
        if value:
            _put(document, key, _native(checked, key, value))
        else:
            _remove(document, key)
    draft = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(draft, tomli_w.dumps(document).encode())
        draft.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)
    return path


def variable(key: str) -> str:
    """The environment variable of a dotted key."""
    return f"{PREFIX}{key.upper().replace('.', '__')}"


def _checked(environ: Mapping[str, str], values: Mapping[str, str]) -> Settings:
    try:
        return load_settings({**environ, **{variable(key): value for key, value in values.items()}})
    except ConfigurationError as error:
        said = str(error)
        for key in values:
            said = said.replace(f"{variable(key)}: ", "")
        raise ConfigurationError(said) from None


def _remove(document: dict[str, Any], key: str) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        document = document.get(parent, {})
    document.pop(last, None)


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"the settings file {path} cannot be read: {error}") from None


def _put(document: dict[str, Any], key: str, value: object) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
    document[last] = value


def _native(settings: Settings, key: str, value: str) -> object:
    """The value as TOML has it: a number, a boolean or a list where the setting is one, else the text."""
    checked: Any = settings
    for part in key.split("."):
        checked = getattr(checked, part)
    if isinstance(checked, tuple):
        return list(checked)
    return checked if isinstance(checked, bool | int | float) else value


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
