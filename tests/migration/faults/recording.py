"""What a program does to the files of a directory, call by call, read from `strace`."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.migration.faults.disk import Kind, Operation

_CALLS = (
    "openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,lseek,truncate,ftruncate,fallocate,fsync,fdatasync,unlink,unlinkat,"
    "rename,renameat,renameat2,link,linkat,symlink,symlinkat,copy_file_range,sendfile,splice"
)
_LINE = re.compile(r"(?P<pid>\d+) +(?P<call>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")
_UNFINISHED = re.compile(r"(?P<pid>\d+) +(?P<text>.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"(?P<pid>\d+) +<\.\.\. \w+ resumed>(?P<text>.*)$")
_DESCRIPTOR = re.compile(r"(?P<number>\w+)<(?P<path>[^>]*)>(?P<deleted>\(deleted\))?")


def command(log: Path) -> tuple[str, ...]:
    """What to put before a program so that `operations` can be read from `log` afterwards."""
    quiet = ("--seccomp-bpf", "-qq", "-e", "signal=none")
    return ("strace", "-f", "-y", "-xx", "-s", "100000000", *quiet, "-e", f"trace={_CALLS}", "-o", str(log))


def operations(log: Path, directory: Path, before: Iterable[str]) -> list[Operation]:
    """In the order in which they ended, from the names of the files that were there before.

    The index of a WAL in shared memory is left out, since it never outlives a power cut. Raises NotImplementedError for a call on
    these files that no image could be made of.
    """
    reader = _Reader(os.path.realpath(directory), set(before))
    with log.open(encoding="ascii") as lines:
        return [found for line in _whole(lines) for found in reader.read(line) if not found.path.endswith("-shm")]


def _whole(lines: Iterable[str]) -> Iterator[str]:
    """Calls that another thread's calls interrupted, put together again."""
    waiting: dict[str, str] = {}
    for line in lines:
        if unfinished := _UNFINISHED.match(line):
            waiting[unfinished["pid"]] = unfinished["text"]
        elif resumed := _RESUMED.match(line):
            yield f"{resumed['pid']} {waiting.pop(resumed['pid'])}{resumed['text']}"
        else:
            yield line


class _Reader:
    def __init__(self, directory: str, names: set[str]) -> None:
        self._directory, self._names = directory, names
        self._positions: dict[tuple[str, str], int] = {}
        """Where the next `write` goes, by process and descriptor."""

    def read(self, line: str) -> Iterator[Operation]:
        match = _LINE.match(line)
        if match is None or match["result"].startswith("-"):
            return
        arguments, result = match["arguments"].split(", "), int(match["result"])
        paths = [self._relative(argument) for argument in arguments]
        if any(paths):
            yield from self._operations(match["pid"], match["call"], arguments, result)

    def _operations(self, pid: str, call: str, arguments: list[str], result: int) -> Iterator[Operation]:
        path = self._relative(arguments[0])
        number = arguments[0].partition("<")[0]
        match call:
            case "openat":
                yield from self._open(pid, str(self._relative(arguments[1], arguments[0])), arguments[2], result)
            case "lseek":
                self._positions[pid, number] = result
            case "write" if path:
                offset = self._positions[pid, number]
                self._positions[pid, number] = offset + result
                yield Operation(kind=Kind.WRITE, path=path, offset=offset, data=_octets(arguments[1])[:result])
            case "pwrite64" if path:
                yield Operation(kind=Kind.WRITE, path=path, offset=int(arguments[3]), data=_octets(arguments[1])[:result])
            case "ftruncate" | "truncate" if path:
                yield Operation(kind=Kind.TRUNCATE, path=path, offset=int(arguments[1]))
            case "fsync" | "fdatasync" if path:
                yield Operation(kind=Kind.SYNC if path in self._names else Kind.SYNC_NAMES, path=path)
            case "unlink" | "unlinkat":
                yield from self._unlink(arguments)
            case "rename" | "renameat" | "renameat2":
                source, target = _two_paths(call, arguments)
                yield from self._rename(str(self._relative(*source)), str(self._relative(*target)))
            case _:
                raise NotImplementedError(f"{call}({', '.join(arguments)[:300]})")

    def _open(self, pid: str, path: str, flags: str, descriptor: int) -> Iterator[Operation]:
        if "O_APPEND" not in flags:
            self._positions[pid, str(descriptor)] = 0
        if "O_CREAT" in flags and path not in self._names:
            self._names.add(path)
            yield Operation(kind=Kind.CREATE, path=path)
        elif "O_TRUNC" in flags:
            yield Operation(kind=Kind.TRUNCATE, path=path)

    def _unlink(self, arguments: list[str]) -> Iterator[Operation]:
        path = str(self._relative(arguments[1], arguments[0]) if len(arguments) > 1 else self._relative(arguments[0]))
        if path in self._names:  # else a directory
            self._names.remove(path)
            yield Operation(kind=Kind.UNLINK, path=path)

    def _rename(self, source: str, target: str) -> Iterator[Operation]:
        self._names.remove(source)
        self._names.add(target)
        yield Operation(kind=Kind.RENAME, path=source, target=target)

    def _relative(self, argument: str, at: str = "") -> str | None:
        """The path inside the directory that an argument names, by descriptor or by text; None elsewhere or for a removed file."""
        descriptor = _DESCRIPTOR.fullmatch(argument)
        if descriptor:
            text = "" if descriptor["deleted"] else _text(descriptor["path"])
        else:
            text = _text(argument)
            if text and not text.startswith("/") and (base := _DESCRIPTOR.fullmatch(at)):
                text = f"{_text(base['path'])}/{text}"
        if text != self._directory and not text.startswith(f"{self._directory}/"):
            return None
        return os.path.relpath(text, self._directory)


def _two_paths(call: str, arguments: list[str]) -> tuple[list[str], list[str]]:
    """Each as (path, directory it is relative to)."""
    if call == "rename":
        return [arguments[0]], [arguments[1]]
    return [arguments[1], arguments[0]], [arguments[3], arguments[2]]


def _octets(escaped: str) -> bytes:
    return bytes.fromhex(escaped.strip('"').replace("\\x", ""))


def _text(escaped: str) -> str:
    return os.fsdecode(_octets(escaped)) if "\\x" in escaped else ""
