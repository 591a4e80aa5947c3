"""The command line: a thin skin, one file a group. Data on stdout, talk on stderr, one handler for every error."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from bms_iot.errors import BmsError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `bms-iot` with the given arguments, the process's own by default, and exit."""
    try:
        from bms_iot.cli.root import app

        app(args=None if arguments is None else list(arguments))
    except KeyboardInterrupt:  # while modules are imported; later it is the command line that hears of it
        sys.exit(130)
    except BmsError as error:
        _exit(error)
    except BaseExceptionGroup as group:
        expected, unexpected = group.split(BmsError)
        if unexpected is not None or expected is None:
            raise
        _exit(_first(expected))


def _exit(error: BmsError) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the terminal is where errors go
    if error.hint:
        print(f"  next: {error.hint}", file=sys.stderr)  # noqa: T201
    sys.exit(error.exit_code)


def _first(group: BaseExceptionGroup[BmsError]) -> BmsError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, BmsError)
    return error
