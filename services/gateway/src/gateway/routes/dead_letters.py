"""/api/v1/dead-letters: for operators, by their own token. What people wrote is not shown: it is their tenant's."""

import re
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field

from gateway.errors import InvalidInputError
from gateway.letters import Envelope, Findings, Holder
from gateway.replay import Outcome, Place
from gateway.routes.dependencies import ServicesIn, operator
from gateway.routes.schemas import Body, Listing, Output

router = APIRouter(prefix="/api/v1/dead-letters", tags=["operators"], dependencies=[Depends(operator)])
_CURSOR = re.compile(r"(\d{1,19})-(\d{1,19})@([a-z0-9.-]{1,100})")
StreamPath = Annotated[str, Path(max_length=100)]
LetterPath = Annotated[str, Path(pattern=r"^\d{1,19}-\d{1,19}$")]
StreamIn = Annotated[str | None, Query(max_length=100, description="One stream's whole name; of all when not given.")]
CursorIn = Annotated[str | None, Query(max_length=200)]


class LetterOut(Output):
    """A dead letter: what it was, why it was given up, when and by which worker."""

    stream: str
    id: str
    message_id: str
    error: str
    error_class: str
    detail: str
    attempts: int
    worker: str
    died_at: datetime
    size: int
    request_id: str | None
    tenant: str | None
    document_id: str | None

    @classmethod
    def of(cls, found: Findings) -> Self:
        letter, envelope = found.letter, found.envelope or Envelope()
        names = [name for name in LetterOut.model_fields if hasattr(letter, name)]
        about = {name: getattr(envelope, name) for name in ("request_id", "tenant", "document_id")}
        return cls(**{name: getattr(letter, name) for name in names}, **about)


class EnvelopeOut(Output):
    request_id: str | None
    tenant: str | None
    created_at: datetime | None
    deadline: datetime | None
    traceparent: str | None
    document_id: str | None
    generation: int | None
    fix_id: str | None
    access_level: str | None
    state: str | None
    key_id: str | None


class HolderOut(Output):
    """Who asked, as the passport names them; null when it was not signed by this system."""

    tenant: str
    subject: str
    clearance: str
    expires_at: datetime
    expired: bool


class LetterInFull(LetterOut):
    failures: int
    crashes: int
    envelope: EnvelopeOut | None
    holder: HolderOut | None
    fault: str | None = Field(description="Why it cannot be read, or why its passport is not good.")

    @classmethod
    def of(cls, found: Findings) -> Self:
        return cls(
            **LetterOut.of(found).model_dump(),
            failures=found.letter.failures,
            crashes=found.letter.crashes,
            envelope=EnvelopeOut.model_validate(found.envelope) if found.envelope else None,
            holder=_holder_out(found.holder),
            fault=found.fault,
        )


class LetterListing(Listing[LetterOut]):
    counts: dict[str, int] = Field(description="How many each stream has.")


class ReplayIn(Body):
    stream: Annotated[str, Field(max_length=100)] | None = None
    cursor: Annotated[str, Field(max_length=200)] | None = None


class RefusalOut(Output):
    stream: str
    id: str
    reason: str


class ReplayedOut(Output):
    """`next_cursor` is for the next call; null when all have been looked at."""

    replayed: int
    refused: list[RefusalOut]
    next_cursor: str | None


class DiscardedOut(Output):
    discarded: int
    next_cursor: str | None


@router.get("")
async def get_dead_letters(
    services: ServicesIn,
    stream: StreamIn = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: CursorIn = None,
) -> LetterListing:
    """The newest first."""
    found = await services.replay.page(stream, limit + 1, _decode(cursor))
    rest = found[limit - 1].letter.place if len(found) > limit else None
    items = [LetterOut.of(one) for one in found[:limit]]
    return LetterListing(items=items, next_cursor=_encode(rest), counts=await services.replay.letters.counts())


@router.delete("")
async def delete_dead_letters(
    services: ServicesIn,
    everything: Annotated[bool, Query(alias="all", description="Must be true.")] = False,
    stream: StreamIn = None,
    cursor: CursorIn = None,
) -> DiscardedOut:
    """Discards all letters of a stream, or of all, some hundred a call."""
    if not everything:
        raise InvalidInputError("all", "must be true: this discards every dead letter of the stream, or of all streams")
    outcome = await services.replay.discard_all(stream, _decode(cursor))
    return DiscardedOut(discarded=outcome.done, next_cursor=_encode(outcome.rest))


@router.post("/replay")
async def post_replay_all(body: ReplayIn, services: ServicesIn) -> ReplayedOut:
    """Replays all letters of a stream, or of all, some hundred a call; what cannot be is told with the reason."""
    return _replayed(await services.replay.replay_all(body.stream, _decode(body.cursor)))


@router.get("/{stream}/{letter_id}")
async def get_dead_letter(stream: StreamPath, letter_id: LetterPath, services: ServicesIn) -> LetterInFull:
    return LetterInFull.of(await services.replay.find(stream, letter_id))


@router.post("/{stream}/{letter_id}/replay", status_code=HTTPStatus.NO_CONTENT)
async def post_replay(stream: StreamPath, letter_id: LetterPath, services: ServicesIn) -> None:
    """409 with the reason when it cannot be."""
    await services.replay.replay(await services.replay.find(stream, letter_id))


@router.delete("/{stream}/{letter_id}", status_code=HTTPStatus.NO_CONTENT)
async def delete_dead_letter(stream: StreamPath, letter_id: LetterPath, services: ServicesIn) -> None:
    await services.replay.discard(await services.replay.find(stream, letter_id))


def _holder_out(holder: Holder | None) -> HolderOut | None:
    return HolderOut.model_validate(holder) if holder else None


def _replayed(outcome: Outcome) -> ReplayedOut:
    refused = [RefusalOut.model_validate(refusal) for refusal in outcome.refused]
    return ReplayedOut(replayed=outcome.done, refused=refused, next_cursor=_encode(outcome.rest))


def _encode(place: Place | None) -> str | None:
    return f"{place[0]}-{place[1]}@{place[2]}" if place else None


def _decode(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    if not (parts := _CURSOR.fullmatch(cursor)):
        raise InvalidInputError("cursor", "is not one that a list gave")
    return int(parts[1]), int(parts[2]), parts[3]
