"""Who holds a UDP port of this machine, as far as Linux lets us see (`proc(5)`: /proc/net/udp, /proc/PID/fd, /proc/PID/cmdline)."""

import ipaddress
import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
MAX_COMMAND = 80
ANY = "0.0.0.0"  # noqa: S104 - compared, not bound


class _Socket(NamedTuple):
    host: str
    port: int
    user_id: int
    inode: int


def holder_of(host: str, port: int) -> str | None:
    """The process that keeps us from `host` and `port`, in words; None when nobody is seen to."""
    in_the_way = [each for each in _sockets() if each.port == port and (each.host == host or ANY in (host, each.host))]
    if not in_the_way:
        return None
    by_inode = {each.inode: each for each in in_the_way}
    for process, inode in _open_sockets():
        if inode in by_inode:
            return f"process {process} ({_command(process)})"
    return f"a process of user {_user(in_the_way[0].user_id)}; which one is unknown (other user)"


def _sockets() -> Iterator[_Socket]:
    """The UDP sockets of this network namespace."""
    try:
        lines = (PROC / "net" / "udp").read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        columns = line.split()
        address, _, port = columns[1].partition(":")
        host = str(ipaddress.IPv4Address(bytes.fromhex(address)[::-1]))
        yield _Socket(host, int(port, 16), int(columns[7]), int(columns[9]))


def _open_sockets() -> Iterator[tuple[int, int]]:
    """(process, inode) of every socket we may see; processes of others, and those that end meanwhile, are passed over."""
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            for descriptor in (entry / "fd").iterdir():
                target = os.readlink(descriptor)
                if target.startswith("socket:["):
                    yield int(entry.name), int(target[8:-1])
        except OSError:
            continue


def _command(process: int) -> str:
    try:
        words = (PROC / str(process) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        return words[:MAX_COMMAND] or (PROC / str(process) / "comm").read_text().strip()
    except OSError:
        return "gone meanwhile"


def _user(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)
