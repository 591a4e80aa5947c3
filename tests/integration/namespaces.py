"""Hosts of their own on Ethernets of their own: network namespaces, veth pairs and bridges, which only root may make.

Everything runs in this one process: a socket stays in the namespace it was made in.
"""

import ctypes
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_NUMBERS = itertools.count(1)
_libc = ctypes.CDLL(None, use_errno=True)


def ip(*words: str) -> None:
    """Run ip(8)."""
    program = shutil.which("ip") or shutil.which("ip", path="/usr/sbin:/sbin")
    if program is None:
        pytest.skip("ip (iproute2) is not installed")
    done = subprocess.run((program, *words), capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@dataclass
class Internet:
    """Subnets and the hosts on them; `hosts` by name."""

    prefix: str = field(default_factory=lambda: f"bms{os.getpid()}x{next(_NUMBERS)}")
    hosts: list[str] = field(default_factory=list)

    def make(self, name: str) -> None:
        ip("netns", "add", self._full(name))
        self.hosts.append(name)
        ip("-n", self._full(name), "link", "set", "lo", "up")

    def subnet(self, name: str) -> None:
        """An Ethernet: a bridge in a namespace of its own."""
        self.make(name)
        ip("-n", self._full(name), "link", "add", "bridge", "type", "bridge")
        ip("-n", self._full(name), "link", "set", "bridge", "up")

    def connect(self, host: str, subnet: str, address: str, interface: str = "eth0") -> None:
        """Plug `host`, made when it is new, into `subnet` with that address, of a /24."""
        if host not in self.hosts:
            self.make(host)
        ours, theirs = self._full(host), self._full(subnet)
        plug = f"to-{host}-{interface}"[:15]
        ip("link", "add", plug, "netns", theirs, "type", "veth", "peer", "name", interface, "netns", ours)
        ip("-n", theirs, "link", "set", plug, "master", "bridge", "up")
        ip("-n", ours, "addr", "add", f"{address}/24", "brd", "+", "dev", interface)
        ip("-n", ours, "link", "set", interface, "up")

    def forward(self, host: str) -> None:
        """Make `host` pass IP packets on."""
        with self.inside(host):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")

    def default_route(self, host: str, gateway: str, metric: int = 0) -> None:
        ip("-n", self._full(host), "route", "add", "default", "via", gateway, "metric", str(metric))

    def unplug(self, host: str, interface: str = "eth0") -> None:
        ip("-n", self._full(host), "link", "set", interface, "down")

    @contextmanager
    def inside(self, host: str) -> Iterator[None]:
        """Sockets made meanwhile are on `host`."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/run/netns/{self._full(host)}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
            try:
                yield
            finally:
                _enter(before)
        finally:
            os.close(there)
            os.close(before)

    def _full(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def close(self) -> None:
        for name in self.hosts:
            ip("netns", "del", self._full(name))


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, 0):
        raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def internet() -> Iterator[Internet]:
    """Nothing yet; taken away again afterwards. Skips the test where namespaces cannot be made."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    made = Internet()
    try:
        try:
            made.make("trial")
        except RuntimeError as error:
            pytest.skip(f"network namespaces cannot be made here: {error}")
        yield made
    finally:
        made.close()
