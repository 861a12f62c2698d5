"""Health, metrics and the API's own documentation."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from sluice.errors import SluiceError

Check = Callable[[], Awaitable[None]]


def create_router(checks: Sequence[Check], queue_metrics: Callable[[], Awaitable[bytes]]) -> APIRouter:
    router = APIRouter(tags=["system"])

    @router.get("/healthz")
    async def get_health() -> dict[str, str]:
        """The process answers."""
        return {"status": "alive"}

    @router.get("/readyz", responses={503: {"description": "What does not answer."}})
    async def get_readiness() -> JSONResponse:
        """SQL and Redis answer."""
        try:
            await asyncio.gather(*(check() for check in checks))
        except SluiceError as error:
            body = {"status": "not ready", "reason": error.detail}
            return JSONResponse(body, HTTPStatus.SERVICE_UNAVAILABLE)
        return JSONResponse({"status": "ready"})

    @router.get("/metrics", response_class=Response)
    async def get_metrics() -> Response:
        """Prometheus: what this process counts, and how full each stream is."""
        return Response(generate_latest() + await queue_metrics(), media_type=CONTENT_TYPE_LATEST)

    return router
