"""Commands from the cloud: bytes to typed values. Whatever arrives, the outcome is a Command or a CommandRejected."""

import json
import re
from typing import Any, Final

from pydantic import ValidationError

from bms_iot.domain.commands import Command, CommandName
from bms_iot.errors import CommandRejected
from bms_iot.mqtt.request_bodies import DECODERS, MAX_ID, is_text

MAX_COMMAND_BYTES: Final = 262_144
_COMMAND_ID = re.compile(rb'"commandId"\s*:\s*"([\x20\x21\x23-\x5b\x5d-\x7e]{1,200})"')
_ID_WITHIN_BYTES: Final = 65_536
_COMPLAINTS: Final = 5
_SHOWN_NAME: Final = 64


def decode_command(name: str, payload: bytes, *, max_bytes: int = MAX_COMMAND_BYTES) -> Command:
    """The command of a request topic's name and payload. Raises CommandRejected, which says what is wrong."""
    try:
        decode = DECODERS[CommandName(name)]
    except ValueError:
        raise _rejected(f"there is no command {name[:_SHOWN_NAME]!r}", payload) from None
    if len(payload) > max_bytes:
        raise too_large(payload, len(payload), max_bytes=max_bytes)
    body = _json_object(payload)
    try:
        return decode(body)
    except ValidationError as error:
        raise _rejected(_complaints(error), payload, body) from None


def too_large(beginning: bytes, size: int, *, max_bytes: int = MAX_COMMAND_BYTES) -> CommandRejected:
    """The refusal of a command of `size` bytes, of which at least the beginning is known."""
    return _rejected(f"the command has {size} bytes, {max_bytes} are the most", beginning)


def command_id_of(payload: bytes) -> str | None:
    """The id of a command that was not even looked at, where it can be read."""
    try:
        return _rejected("", payload, _json_object(payload)).command_id
    except CommandRejected as refused:
        return refused.command_id


def _json_object(payload: bytes) -> dict[str, Any]:
    try:
        body = json.loads(payload.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise _rejected("the command is not UTF-8", payload) from None
    except RecursionError:
        raise _rejected("the command is nested too deeply", payload) from None
    except ValueError as error:
        raise _rejected(f"the command is not JSON: {error}", payload) from None
    if not isinstance(body, dict):
        raise _rejected("the command is not a JSON object", payload)
    return body


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is not JSON")


def _rejected(reason: str, payload: bytes, body: dict[str, Any] | None = None) -> CommandRejected:
    """The refusal, with the command's id when it can still be read, so that it can be answered."""
    command_id = body.get("commandId") if body is not None else None
    if not isinstance(command_id, str) or not 0 < len(command_id) <= MAX_ID or not is_text(command_id):
        found = _COMMAND_ID.search(payload[:_ID_WITHIN_BYTES])
        command_id = found[1].decode() if found else None
    return CommandRejected(reason, command_id=command_id)


def _complaints(error: ValidationError) -> str:
    """What is wrong, by key; never the value, which may be the token."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    texts = [
        f"{'.'.join(map(str, p['loc'])) or 'command'}: {p['msg'].removeprefix('Value error, ')}" for p in problems[:_COMPLAINTS]
    ]
    return "; ".join(texts) + (f"; and {len(problems) - _COMPLAINTS} more" if len(problems) > _COMPLAINTS else "")
