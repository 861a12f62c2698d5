"""What whoever runs the page asks of it, at the same port."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client import generate_latest as render_metrics

from sluice_frontend.ports import Gateway


def create_router(gateway: Gateway) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)

    @router.get("/healthz")
    async def is_alive() -> Response:
        return JSONResponse({"status": "ok"})

    @router.get("/readyz")
    async def is_ready() -> Response:
        """Ready once the gateway answers: without it the page can do nothing."""
        ready = await gateway.ready()
        return JSONResponse({"status": "ok" if ready else "gateway unreachable"}, status_code=200 if ready else 503)

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(render_metrics(registry), media_type=CONTENT_TYPE_LATEST)

    return router
