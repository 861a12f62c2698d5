"""POST /api/v1/logs/search."""

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from gateway.problems import respond
from gateway.routes.dependencies import LogReader, ServicesIn
from gateway.routes.schemas import Body, Text
from gateway.routes.streaming import unless_gone

router = APIRouter(prefix="/api/v1/logs", tags=["logs"])
Time = Annotated[AwareDatetime, Field(strict=False)]
_LONGEST = timedelta(days=366)


class SearchIn(Body):
    query: Annotated[Text, StringConstraints(max_length=2000)]
    start: Time
    end: Time
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    order: Literal["newest", "oldest"] = "newest"
    cursor: Annotated[Text, StringConstraints(max_length=500)] | None = None
    interval: Annotated[int, Field(ge=1, le=86_400 * 31)] | None = Field(
        default=None, description="Seconds: counts the hits of each interval as well."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.start < self.end <= self.start + _LONGEST:
            raise ValueError("start must be before end, by at most 366 days")
        return self


@router.post("/search")
async def post_search(body: SearchIn, request: Request, reader: LogReader, services: ServicesIn) -> Response:
    """A Lucene query over the logs of the caller's tenant; an error keeps the status that the search ended with."""
    search: dict[str, Any] = body.model_dump(exclude={"interval"}) | {"interval_seconds": body.interval}
    async with services.limits.room(services.limits.log_searches, reader.tenant.id):
        event = await unless_gone(request, services.search_logs(reader, search))
    return respond(event.data) if event.name == "error" else JSONResponse(event.data, status_code=HTTPStatus.OK)
