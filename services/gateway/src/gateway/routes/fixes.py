"""/api/v1/knowledge/fixes: teach mode."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, StringConstraints

from gateway.records import FixRow, FixState
from gateway.routes.dependencies import ServicesIn, Teacher
from gateway.routes.keyed import KeyedIn
from gateway.routes.schemas import Body, IdIn, IdPath, LevelIn, Listing, Output, PageIn, Text, listing
from sluice.access import Level

router = APIRouter(prefix="/api/v1/knowledge/fixes", tags=["knowledge"])


class FixIn(Body):
    question: Annotated[Text, StringConstraints(max_length=4000)]
    answer: Annotated[Text, StringConstraints(max_length=20_000)]
    access_level: LevelIn = Field(
        default=Level.INTERNAL,
        description="INTERNAL people teach EXTERNAL answers from EXTERNAL sources, or with the right to declassify.",
    )
    sources: Annotated[list[IdIn], Field(max_length=50)] = Field(
        default=[], description="The documents that the answer was written from."
    )


class FixOut(Output):
    id: str
    question: str
    answer: str
    access_level: Level
    state: FixState
    error: str | None
    sources: list[str]
    declassified: bool
    created_at: datetime
    updated_at: datetime


@router.post("", status_code=HTTPStatus.ACCEPTED)
async def post_fix(body: FixIn, teacher: Teacher, services: ServicesIn, keyed: KeyedIn) -> FixOut:
    claim = await keyed.claim(teacher, body.model_dump())
    if claim and claim.settled:
        return _out(await services.teach.find(teacher, claim.id()))
    async with services.limits.room(services.limits.fixes, teacher.tenant.id):
        fix_id = claim.id() if claim else None
        fix = await services.teach(
            teacher, body.question, body.answer, body.access_level, sources=body.sources, fix_id=fix_id
        )
    await keyed.settle(claim)
    return _out(fix)


@router.get("")
async def get_fixes(teacher: Teacher, services: ServicesIn, page: PageIn) -> Listing[FixOut]:
    rows = await services.fixes.fixes(teacher.tenant.id, teacher.clearance.readable, page)
    return listing(rows, page, _out, lambda row: (row.created_at, row.id))


@router.get("/{fix_id}")
async def get_fix(fix_id: IdPath, teacher: Teacher, services: ServicesIn) -> FixOut:
    return _out(await services.teach.find(teacher, fix_id))


@router.delete("/{fix_id}", status_code=HTTPStatus.ACCEPTED)
async def delete_fix(fix_id: IdPath, teacher: Teacher, services: ServicesIn) -> FixOut:
    """The fix is `withdrawing`, and then not found any more."""
    return _out(await services.teach.withdraw(teacher, fix_id))


def _out(fix: FixRow) -> FixOut:
    return FixOut.model_validate(fix)
