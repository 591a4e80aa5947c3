"""Coroutines that run together."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def first_failure(*flows: Coroutine[Any, Any, None]) -> BaseException:
    """Run together until one fails; the others are cancelled, and its exception is the answer.

    Not a TaskGroup: on Python 3.11 one that is already ending swallows the cancellation of whoever waits for it.
    """
    tasks = [asyncio.create_task(flow) for flow in flows]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return next(error for task in done if not task.cancelled() and (error := task.exception()) is not None)
