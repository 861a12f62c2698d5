"""/api/v1/audit: a tenant's records for its admins; whole chains, to verify and to keep elsewhere, for operators."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import Field

from gateway.errors import InvalidInputError
from gateway.routes.dependencies import Admin, ServicesIn, operator
from gateway.routes.schemas import IdIn, IdPath, Listing, Output
from gateway.trail import Chain
from sluice.access import Level
from sluice.audit import AuditRecord, Head

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])
chains = APIRouter(prefix="/api/v1/audit/chains", tags=["operators"], dependencies=[Depends(operator)])
JSON_LINES = "application/x-ndjson"
_BIGGEST = 2**31 - 1
NameIn = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9.-]{1,64}$")]


class RecordOut(Output):
    """Who did what to what. `hash` covers all of the record, and that of the one before it."""

    sequence: int
    at: datetime
    actor: str
    action: str
    target: str
    detail: dict[str, Any]
    previous: str
    hash: str


class ChainOut(Output):
    """Where a chain ends. A signed head that is kept elsewhere proves later that nothing before it was changed."""

    chain: str
    tenant: str | None = Field(description="Null for the system's chain, and for a tenant that is gone.")
    sequence: int
    hash: str
    signature: str
    last: int = Field(description="The number of the last record that is there.")


class ChainsOut(Output):
    chains: list[ChainOut]


@router.get("")
async def get_audit(
    admin: Admin,
    services: ServicesIn,
    action: NameIn = None,
    actor: NameIn = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[int | None, Query(ge=1, le=_BIGGEST)] = None,
) -> Listing[RecordOut]:
    """The tenant's records, the newest first; for INTERNAL admins."""
    found = await services.trail.page(admin, limit + 1, cursor, action=action, actor=actor)
    more = str(found[limit - 1].sequence) if len(found) > limit else None
    return Listing(items=[RecordOut.model_validate(record) for record in found[:limit]], next_cursor=more)


class WhyOut(Output):
    """`rule` decides now: its name, and why. `given` and `changes` are records, the newest first."""

    person: str
    clearance: Level
    document: str
    access_level: Level | None = Field(description="Null when it is gone.")
    may_see: bool
    rule: str
    given: list[RecordOut] = Field(description="The retrievals that gave it to them, with the scope of then.")
    changes: list[RecordOut] = Field(description="What was done to the person and to the document or fix.")


@router.get("/explain")
async def get_explanation(
    admin: Admin,
    services: ServicesIn,
    person: IdIn,
    passage: NameIn = None,
    document: NameIn = None,
) -> WhyOut:
    """Why somebody could see a passage, or a document or fix, or could not; for INTERNAL admins."""
    if (passage is None) == (document is None):
        raise InvalidInputError("passage", "give either a passage or a document")
    why = await services.explain_access(admin, person, document_id=document, passage_id=passage)
    return WhyOut(
        person=why.person.id,
        clearance=why.person.clearance,
        document=why.source.id,
        access_level=why.source.access_level,
        may_see=why.may_see,
        rule=why.rule,
        given=[RecordOut.model_validate(record) for record in why.given],
        changes=[RecordOut.model_validate(record) for record in why.changes],
    )


@chains.get("")
async def get_chains(services: ServicesIn) -> ChainsOut:
    """Every chain and its head."""
    return ChainsOut(chains=[_chain_out(chain) for chain in await services.trail.chains()])


@chains.get("/{chain}/records", response_class=StreamingResponse)
async def get_records(chain: IdPath, services: ServicesIn) -> StreamingResponse:
    """JSON lines: each record, oldest first, and then `{"head": ...}`."""
    return StreamingResponse(_lines(await services.trail.export(chain)), media_type=JSON_LINES)


async def _lines(records: AsyncGenerator[AuditRecord | Head]) -> AsyncGenerator[str]:
    async for one in records:
        text = one.model_dump_json()
        yield f'{{"head":{text}}}\n' if isinstance(one, Head) else f"{text}\n"


def _chain_out(chain: Chain) -> ChainOut:
    return ChainOut(tenant=chain.tenant, last=chain.last, **chain.head.model_dump())
