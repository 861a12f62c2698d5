"""Waiting on conditions."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any


async def until(
    condition: Callable[[], Any | Awaitable[Any]], *, seconds: float = 20, what: str = "the condition"
) -> Any:
    """The first truthy value of the condition. An exception counts as not yet; AssertionError after `seconds`."""
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            value = condition()
            value = await value if inspect.isawaitable(value) else value
            if value:
                return value
        except (OSError, LookupError, AssertionError, RuntimeError) as error:
            last = error
        except Exception as error:
            if type(error).__module__.split(".")[0] not in ("redis", "httpx", "httpx2", "sluice"):
                raise
            last = error
        await asyncio.sleep(0.02)
    raise AssertionError(f"{what} did not come true within {seconds} s; last error: {last!r}")


def wait_for(condition: Callable[[], Any], what: str, *, seconds: float = 20) -> Any:
    """The first truthy value of the condition, for tests without an event loop."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.02)
    return value
