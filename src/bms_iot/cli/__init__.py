"""The command line: a thin skin, one file a group. Data on stdout, talk on stderr, one handler for every error."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `bms-iot` with the given arguments, the process's own by default, and exit."""
    from bms_iot.cli.root import app
    from bms_iot.errors import BmsError

    try:
        app(args=None if arguments is None else list(arguments))
    except BmsError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the terminal is where errors go
        if error.hint:
            print(f"  next: {error.hint}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
