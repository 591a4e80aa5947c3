"""A TCP connection through an HTTP proxy, by CONNECT (RFC 9110 clause 9.3.6)."""

import base64
import socket
import time
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

_LONGEST_ANSWER: Final = 16_384
_SUCCESS: Final = 200


class ProxyRefused(OSError):
    """The proxy answered with something else than success, or with no HTTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """An HTTP proxy, and who we are to it."""

    host: str
    port: int
    username: str | None = None
    password: SecretStr | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def connect(self, host: str, port: int, *, timeout_seconds: float) -> socket.socket:
        """A connection to `host`, whose name the proxy resolves. Blocks. Raises OSError, ProxyRefused."""
        deadline = time.monotonic() + timeout_seconds
        sock = socket.create_connection((self.host, self.port), timeout=timeout_seconds)
        try:
            sock.sendall(self.request(host, port))
            check_answer(_answer(sock, deadline))
        except BaseException:
            sock.close()
            raise
        return sock

    def request(self, host: str, port: int) -> bytes:
        """The CONNECT for that destination."""
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if self.username is not None:
            secret = f"{self.username}:{self.password.get_secret_value() if self.password else ''}"
            lines.append(f"Proxy-Authorization: Basic {base64.b64encode(secret.encode()).decode()}")
        return "\r\n".join([*lines, "", ""]).encode()


def check_answer(head: bytes) -> None:
    """Raises ProxyRefused unless the head of the answer is a success."""
    status, _, _ = head.partition(b"\r\n")
    words = status.decode("latin-1").split(maxsplit=2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise ProxyRefused("what answers there is no HTTP proxy")
    if int(words[1]) != _SUCCESS:
        raise ProxyRefused(f"the proxy answered {' '.join(words[1:])}")


def _answer(sock: socket.socket, deadline: float) -> bytes:
    """Its head, and not an octet more: what follows is the broker's."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        octet = sock.recv(1)
        if not octet or len(head) > _LONGEST_ANSWER:
            raise ProxyRefused("the proxy gave no complete answer")
        head += octet
    return head
