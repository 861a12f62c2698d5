"""POST /api/v1/selftest/leaks: for operators, by their own token."""

from fastapi import APIRouter, Depends, Request, Response

from gateway.routes.dependencies import ServicesIn, operator
from gateway.routes.streaming import EVENT_STREAM, event_stream

router = APIRouter(prefix="/api/v1/selftest", tags=["operators"], dependencies=[Depends(operator)])


@router.post("/leaks", response_class=Response, responses=EVENT_STREAM)
async def post_leaks(request: Request, services: ServicesIn) -> Response:
    """Runs `sluice selftest leaks`: events `progress`, each a `line`, and last `report`, as of `--json`, or `error`.

    One at a time, else 409; it ends when its caller goes away.
    """
    run = services.selftest.begin(request.state.request_id)
    return event_stream(run.events, services.settings.heartbeat_seconds, left=run.leave)
