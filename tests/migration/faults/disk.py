"""A disk that forgets what was not synced: every image a power cut may leave of the files of one directory.

The model is POSIX's, not one file system's: a file's data and length are durable once it is synced, names (created, removed,
renamed) once their directory is. Until then each may reach the disk or not, in any order, and a write may arrive in part, sector by
sector.
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from random import Random

SECTOR = 512


class Kind(enum.Enum):
    """What a program did. SYNC is of a file's data, SYNC_NAMES of a directory; the directory itself is `.`."""

    CREATE = "create"
    WRITE = "write"
    TRUNCATE = "truncate"
    SYNC = "sync"
    SYNC_NAMES = "sync names"
    UNLINK = "unlink"
    RENAME = "rename"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`path` is relative to the directory; `offset` is a write's place or a truncation's length; `target` a new name."""

    kind: Kind
    path: str
    offset: int = 0
    data: bytes = b""
    target: str = ""


class Loss(enum.Enum):
    """What becomes of that which was not synced."""

    NOTHING = "nothing lost"
    EVERYTHING = "everything lost"
    DATA = "data lost, names kept"
    NAMES = "names lost, data kept"
    SOME = "some writes lost"
    TORN = "some sectors lost"


@dataclass(eq=False, slots=True)
class _File:
    durable: bytes = b""
    pending: list[Operation] = field(default_factory=list)


Keeps = Callable[[], bool]


class Disk:
    """Follows the operations of a program from the files that were there."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._durable = {name: _File(durable=data) for name, data in files.items()}
        self._names = dict(self._durable)
        self._pending: list[tuple[Operation, _File | None]] = []

    def apply(self, operation: Operation) -> None:
        path = operation.path
        match operation.kind:
            case Kind.CREATE:
                self._names[path] = _File()
                self._pending.append((operation, self._names[path]))
            case Kind.UNLINK:
                self._pending.append((operation, self._names.pop(path)))
            case Kind.RENAME:
                self._names[operation.target] = self._names.pop(path)
                self._pending.append((operation, self._names[operation.target]))
            case Kind.WRITE | Kind.TRUNCATE:
                self._names[path].pending.append(operation)
            case Kind.SYNC:
                file = self._names[path]
                file.durable, file.pending = _content(file, lambda: True, torn=None), []
            case Kind.SYNC_NAMES:
                mine = [entry for entry in self._pending if _directory(entry[0]) == path]
                self._durable = _names(self._durable, mine, lambda: True)
                self._pending = [entry for entry in self._pending if _directory(entry[0]) != path]

    def image(self, loss: Loss, random: Random) -> dict[str, bytes]:
        """The files after a cut at this moment."""
        chance = random.uniform(0.05, 0.95)
        keeps: Keeps = lambda: random.random() < chance  # noqa: E731
        whole: Keeps = lambda: loss in (Loss.NOTHING, Loss.NAMES)  # noqa: E731
        named: Keeps = lambda: loss in (Loss.NOTHING, Loss.DATA)  # noqa: E731
        if loss in (Loss.SOME, Loss.TORN):
            whole = named = keeps
        torn = keeps if loss is Loss.TORN else None
        names = _names(self._durable, self._pending, named)
        return {name: _content(file, whole, torn=torn) for name, file in names.items()}


def _directory(operation: Operation) -> str:
    return str(PurePosixPath(operation.path).parent)


def _names(names: Mapping[str, _File], pending: list[tuple[Operation, _File | None]], keeps: Keeps) -> dict[str, _File]:
    kept = dict(names)
    for operation, file in pending:
        if not keeps() or file is None:
            continue
        if operation.kind is not Kind.CREATE and kept.get(operation.path) in (file, None):
            kept.pop(operation.path, None)
        if operation.kind is not Kind.UNLINK:
            kept[operation.target or operation.path] = file
    return kept


def _content(file: _File, keeps: Keeps, *, torn: Keeps | None) -> bytes:
    content = bytearray(file.durable)
    for operation in file.pending:
        if operation.kind is Kind.TRUNCATE:
            if keeps():
                _resize(content, operation.offset)
        elif torn is not None:
            for start, part in _sectors(operation):
                if torn():
                    _write(content, start, part)
        elif keeps():
            _write(content, operation.offset, operation.data)
    return bytes(content)


def _sectors(write: Operation) -> list[tuple[int, bytes]]:
    end, start, parts = write.offset + len(write.data), write.offset, []
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        parts.append((start, write.data[start - write.offset : stop - write.offset]))
        start = stop
    return parts


def _write(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        _resize(content, offset)
    content[offset : offset + len(data)] = data


def _resize(content: bytearray, length: int) -> None:
    del content[length:]
    content.extend(bytes(length - len(content)))
