"""Uploads to a real HTTP server: tried again while that may help, and the token goes nowhere else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from pydantic import SecretStr

from bms_iot.gateway import upload as module
from bms_iot.gateway.upload import UploadFailed, upload

TOKEN = SecretStr("planted-token")


@dataclass
class Cloud:
    """Answers each POST with the next of `answers`; an empty one is a connection that is cut."""

    answers: list[str]
    port: int = 0
    heads: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/config?key=planted-query"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length"))
        await reader.readexactly(length)
        self.heads.append(head)
        status = self.answers.pop(0)
        if status:
            writer.write(f"HTTP/1.1 {status}\r\nLocation: {self.url}&again\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def cloud(*answers: str) -> AsyncIterator[Cloud]:
    made = Cloud(list(answers))
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.01)


async def test_what_may_pass_is_tried_again_until_it_does():
    async with cloud("503 Busy", "", "429 Slow", "204 Done") as made:
        assert await upload(made.url, TOKEN, {"config": []}, patience_seconds=30) == 4
    assert all("authorization: bearer planted-token" in head.lower() for head in made.heads)


@pytest.mark.parametrize("status", ["400 Bad", "401 Who", "403 No", "404 Where", "302 Elsewhere", "308 Elsewhere"])
async def test_what_another_try_cannot_change_fails_at_once_and_no_redirect_is_followed(status):
    async with cloud(status) as made:
        with pytest.raises(UploadFailed, match=status[:3]) as failed:
            await upload(made.url, TOKEN, {"config": []}, patience_seconds=5)
    assert len(made.heads) == 1
    assert "planted" not in str(failed.value)


async def test_patience_ends():
    async with cloud(*["500 Broken"] * 50) as made:
        with pytest.raises(UploadFailed, match=r"uploads failed.*HTTP 500") as failed:
            await upload(made.url, TOKEN, {"config": []}, patience_seconds=1)
    assert len(made.heads) >= 2
    assert "planted" not in str(failed.value)
