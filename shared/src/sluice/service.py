"""The outside of a worker: its /healthz, /readyz and /metrics, and its life from start to drain."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from math import ceil
from typing import Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sluice.broker import Broker
from sluice.connection import end
from sluice.errors import ConfigurationError, SluiceError, TransientError
from sluice.heads import BoundedHeads
from sluice.settings import CommonSettings

logger = logging.getLogger(__name__)
_COLLECTION_THRESHOLDS = (10_000, 20, 50)
Check = Callable[[], Awaitable[None]]
Closer = Callable[[], Awaitable[None]]
Companion = Callable[[], Coroutine[Any, Any, None]]


def create_worker_app(
    broker: Broker,
    *,
    checks: Sequence[Check] = (),
    closers: Sequence[Closer] = (),
    companions: Sequence[Companion] = (),
) -> Starlette:
    """An ASGI app that consumes while it lives, and beside it runs its `companions`, which never end by themselves.

    `checks` raise when the worker is not ready; `closers` run last.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        await _check_configuration(checks)
        await broker.start()
        beside = [asyncio.create_task(companion()) for companion in companions]
        logger.info("service.started")
        try:
            yield
        finally:
            await end(*beside)
            await broker.stop()
            for close in closers:
                await close()
            logger.info("service.stopped")

    app = Starlette(routes=health_routes([broker.check, *checks]), lifespan=lifespan)
    app.state.broker = broker
    return app


async def _check_configuration(checks: Sequence[Check]) -> None:
    """What is away may come back, and /readyz tells; what is set wrongly ends the process."""
    for check in checks:
        try:
            await check()
        except TransientError as error:
            logger.info("service.waits", extra={"reason": error.detail})
        except ConfigurationError as error:
            logger.critical("service.misconfigured", exc_info=error)
            raise


def health_routes(checks: Sequence[Check]) -> list[Any]:
    """/healthz: the process answers. /readyz: every check passes, else 503 and the reason. /metrics: Prometheus."""

    async def healthz(_: Request) -> JSONResponse:
        return JSONResponse({"status": "alive"})

    async def readyz(_: Request) -> JSONResponse:
        try:
            for check in checks:
                await check()
        except SluiceError as error:
            return JSONResponse({"status": "not ready", "reason": error.detail}, status_code=503)
        return JSONResponse({"status": "ready"})

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]


def _pass(_number: int, _frame: object) -> None: ...


def spare_collections() -> None:
    """What was loaded so far stays: the garbage collector need not look at it again, nor so often at what comes.

    It stops the whole process, and with a thousand open streams that was half a second each time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTION_THRESHOLDS)


def run(create: Callable[[], tuple[Any, CommonSettings]]) -> None:
    """Serves the app, which has its `state.broker`, until SIGTERM.

    The process ends with status 0 after a drain, 1 when it could not go on, 2 and one line that names it for a wrong
    setting, 3 when it could not start.
    """
    try:
        app, settings = create()
    except ValidationError as error:
        for item in error.errors(include_input=False, include_url=False):
            name = "_".join(map(str, item["loc"])).upper() or error.title
            print(f"setting {name}: {item['msg']}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except ConfigurationError as error:
        print(error.detail, file=sys.stderr)  # noqa: T201
        sys.exit(2)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=BoundedHeads,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=ceil(settings.shutdown_grace_seconds),
        )
    )
    spare_collections()
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises it again at its end: a drain is no failure
        signal.signal(number, _pass)
    server.run()
    if not server.started:
        sys.exit(3)
    if app.state.broker.broken:
        sys.exit(1)
