"""What both vendors' adapters need: an HTTP client, and a sure way to close what a stream left open."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx2

from llm_router.ports import Failure, TierUnavailableError

_responses: ContextVar[list[httpx2.Response] | None] = ContextVar("llm_router_open_responses", default=None)


def create_client(
    *, connect_seconds: float, read_seconds: float, trust_env: bool = True, connections: int = 200
) -> httpx2.AsyncClient:
    """A client of both SDKs. Its limits hold also where an SDK sets its own: they are written into each request."""
    timeout = httpx2.Timeout(read_seconds, connect=connect_seconds, pool=connect_seconds)

    async def set_limits(request: httpx2.Request) -> None:
        request.extensions["timeout"] = timeout.as_dict()

    return httpx2.AsyncClient(
        timeout=timeout,
        limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=50),
        event_hooks={"request": [set_limits], "response": [_remember]},
        trust_env=trust_env,
    )


@asynccontextmanager
async def closing_responses() -> AsyncGenerator[None, None]:
    """Closes every response that a request inside has opened: google-genai leaves an abandoned stream to the collector.

    Enter it in the task that makes the request.
    """
    opened: list[httpx2.Response] = []
    _responses.set(opened)
    try:
        yield
    finally:
        for response in opened:
            await response.aclose()


async def _remember(response: httpx2.Response) -> None:
    opened = _responses.get()
    if opened is not None:
        opened.append(response)


def transport_failure(error: httpx2.TransportError, vendor: str) -> TierUnavailableError:
    """A saturated pool is told apart: it says nothing about the vendor."""
    if isinstance(error, httpx2.PoolTimeout):
        return TierUnavailableError(Failure.SATURATED, "every connection of this process is in use")
    if isinstance(error, httpx2.TimeoutException):
        return TierUnavailableError(Failure.TIMEOUT, f"{vendor} took too long")
    return TierUnavailableError(Failure.CONNECTION, f"the connection to {vendor} failed: {type(error).__name__}")


def status_failure(status: int, vendor: str, *, retry_after: timedelta | None = None) -> TierUnavailableError | None:
    """The failure that a status stands for, or None where the request itself is wrong."""
    reasons = {401: Failure.AUTHENTICATION, 403: Failure.AUTHENTICATION, 404: Failure.NOT_FOUND}
    reasons |= {408: Failure.TIMEOUT, 429: Failure.RATE_LIMITED}
    reason = reasons.get(status) or (Failure.SERVER_ERROR if status >= 500 else None)
    return TierUnavailableError(reason, f"{vendor} answered {status}", retry_after=retry_after) if reason else None


def retry_after(headers: httpx2.Headers) -> timedelta | None:
    """The header Retry-After (or retry-after-ms) in either of its forms."""
    if milliseconds := headers.get("retry-after-ms"):
        return _seconds(milliseconds, 1000)
    value = headers.get("retry-after")
    return (_seconds(value) or _until(value)) if value else None


def _seconds(value: str, parts: int = 1) -> timedelta | None:
    try:
        return timedelta(seconds=max(0.0, float(value) / parts))
    except (ValueError, OverflowError):
        return None


def _until(value: str) -> timedelta | None:
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(timedelta(), moment - datetime.now(UTC))
