"""The command line: a thin skin over `bootstrap`."""

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `bms-iot` with the given arguments, the process's own by default."""
    raise NotImplementedError(arguments)
