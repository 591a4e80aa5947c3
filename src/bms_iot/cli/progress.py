"""How far something long is, on stderr."""

import sys
import time


class Progress:
    """Called with what is done, how much there is, and of what; says so once a second, with the seconds left."""

    def __init__(self) -> None:
        self._what = ""
        self._started = self._said = 0.0

    def __call__(self, done: int, total: int, what: str) -> None:
        now = time.monotonic()
        if what != self._what:
            self._what, self._started, self._said = what, now, now
        if done < total and now - self._said < 1.0:
            return
        self._said = now
        left = (now - self._started) * (total - done) / done if done else 0.0
        sys.stderr.write(f"{done} of {total} {what}" + (f", about {left:.0f} s left\n" if done < total else "\n"))
