"""An HTTP server on this machine that takes uploads."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest


@dataclass
class UploadServer:
    """Remembers (authorization, body) of each POST."""

    port: int
    requests: list[tuple[str, Any]] = field(default_factory=list)

    def command(self, *, controllers: list[tuple[str, int, str]]) -> bytes:
        """A `get_config` that uploads here."""
        body = {
            "urlToUploadConfig": f"http://127.0.0.1:{self.port}/config",
            "jwtToken": "canary-token",
            "iotDeviceControllers": [{"ipAddress": ip, "controllerDeviceId": instance, "id": i} for ip, instance, i in controllers],
        }
        return json.dumps(body).encode()


@pytest.fixture
def upload_server() -> Iterator[UploadServer]:
    uploads = UploadServer(0)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            uploads.requests.append((self.headers["Authorization"], json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    uploads.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield uploads
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
