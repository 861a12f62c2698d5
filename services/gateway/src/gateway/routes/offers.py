"""/api/v1/knowledge/offers: what became of what an API key offered, by offer or by upload."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query

from gateway.errors import NotFoundError
from gateway.offers import state_of
from gateway.records import Fate
from gateway.routes.dependencies import Producer, ServicesIn
from gateway.routes.schemas import Listing, Output, PageIn, listing
from sluice.offers import IDEMPOTENCY_KEY

router = APIRouter(prefix="/api/v1/knowledge/offers", tags=["knowledge"])
KeyPath = Annotated[str, Path(pattern=IDEMPOTENCY_KEY)]
Keys = Annotated[list[Annotated[str, Query(pattern=IDEMPOTENCY_KEY)]] | None, Query(max_length=100)]


class FateOut(Output):
    idempotency_key: str
    state: str
    job_id: str | None
    document_id: str | None
    error: str | None
    superseded: bool
    created_at: datetime


@router.get("")
async def get_offers(
    producer: Producer, services: ServicesIn, page: PageIn, idempotency_key: Keys = None
) -> Listing[FateOut]:
    """All, the newest first; or those of up to 100 idempotency keys at once, in any order."""
    if idempotency_key is not None:
        found = await services.fates.of(producer.id, idempotency_key)
        return Listing(items=[_out(fate) for fate in found], next_cursor=None)
    rows = await services.fates.page(producer.id, page)
    return listing(rows, page, _out, lambda row: (row.created_at, row.idempotency_key))


@router.get("/{idempotency_key:path}")
async def get_offer(idempotency_key: KeyPath, producer: Producer, services: ServicesIn) -> FateOut:
    """404 as long as the offer waits on the stream, and for what was never offered with this API key."""
    fate = await services.fates.find(producer.id, idempotency_key)
    if fate is None:
        raise NotFoundError("there is no such offer, or it was not taken in yet")
    return _out(fate)


def _out(fate: Fate) -> FateOut:
    return FateOut(
        idempotency_key=fate.idempotency_key,
        state=state_of(fate),
        job_id=fate.job_id,
        document_id=fate.document_id,
        error=fate.job_error if fate.job_id else fate.refused,
        superseded=fate.superseded,
        created_at=fate.created_at,
    )
