"""Upload a configuration to the cloud; the token goes nowhere but into the request."""

import asyncio
import random

import httpx
import structlog
from pydantic import SecretStr

from bms_iot.errors import BmsError

log = structlog.get_logger()

UPLOAD_TIMEOUT_SECONDS = 30.0
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 1.0, 30.0
_MAY_PASS = frozenset({408, 425, 429})
"""Statuses below 500 that another try may change (RFC 9110, RFC 6585, RFC 8470)."""


class UploadFailed(BmsError):
    """The configuration is kept here, but the cloud did not take it."""


class _MayPass(Exception):
    """What another try may change."""


async def upload(url: str, token: SecretStr, body: object, *, patience_seconds: float) -> int:
    """POST `body` with the bearer token, again and again while that may help; the answer is how often. Raises UploadFailed."""
    loop = asyncio.get_running_loop()
    deadline, pause, tries = loop.time() + patience_seconds, FIRST_PAUSE_SECONDS, 0
    while True:
        tries += 1
        try:
            await _try(url, token, body)
        except _MayPass as error:
            wait = pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret
            if loop.time() + wait >= deadline:
                raise UploadFailed(f"the configuration is kept, but {tries} uploads failed, the last one: {error}") from None
            log.warning("upload_failed", tries=tries, reason=str(error), retry_seconds=round(wait, 1))
            await asyncio.sleep(wait)
            pause = min(pause * 2, MAX_PAUSE_SECONDS)
            continue
        return tries


async def _try(url: str, token: SecretStr, body: object) -> None:
    try:
        status = await asyncio.wait_for(_post(url, token, body), UPLOAD_TIMEOUT_SECONDS)
    except (httpx.TransportError, TimeoutError, OSError) as error:
        raise _MayPass(f"{type(error).__name__}: {error}") from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise UploadFailed(f"the configuration is kept, but the upload failed: {type(error).__name__}: {error}") from None
    if status in _MAY_PASS or status >= 500:
        raise _MayPass(f"HTTP {status}")
    if not 200 <= status < 300:
        raise UploadFailed(f"the configuration is kept, but the upload was answered with HTTP {status}")


async def _post(url: str, token: SecretStr, body: object) -> int:
    """The status; the answer's body is not read. Nothing is followed elsewhere: the token is for this host."""
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"}
    async with (
        httpx.AsyncClient(timeout=UPLOAD_TIMEOUT_SECONDS, follow_redirects=False) as client,
        client.stream("POST", url, json=body, headers=headers) as response,
    ):
        return response.status_code
