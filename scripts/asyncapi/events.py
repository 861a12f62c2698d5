"""What a reply log's entries carry: the field `event`, and in the field `data` one of these as JSON."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from sluice.messages import Passage, Usage


class StageEvent(BaseModel):
    """What is being done."""

    name: Literal["retrieving", "answering"]


class Source(Passage):
    """A numbered passage."""

    n: int
    chunk_id: str = Field(default="", exclude=True)


class SourcesEvent(BaseModel):
    """The passages that the answer may cite; `restoring`: part of the knowledge is being restored just now."""

    passages: list[Source]
    restoring: bool = False


class TokenEvent(BaseModel):
    """A piece of the answer."""

    text: str
    attempt: int


class RestartEvent(BaseModel):
    """What earlier attempts have shown is void: another tier, or another worker, begins anew."""

    attempt: int
    tier: str
    reason: str


class DoneEvent(BaseModel):
    """The answer is whole and kept. Terminal."""

    answer_id: str
    tier: str | None
    finish_reason: Literal["stop", "length", "refused", "cancelled"] | None
    citations: list[int]
    usage: Usage


class ResultEvent(BaseModel):
    """What a log search found. Terminal."""

    total: int
    total_is_exact: bool
    took_ms: int
    truncated: bool
    hits: list[dict[str, Any]]
    next_cursor: str | None
    histogram: Any
    warnings: list[str]


class ErrorEvent(BaseModel):
    """Why there is no answer, as problem details (RFC 9457). Terminal."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]]
    request_id: str


EVENTS: dict[str, tuple[type[BaseModel], tuple[str, ...]]] = {
    "stage": (StageEvent, ("retriever", "llm-router")),
    "sources": (SourcesEvent, ("llm-router",)),
    "token": (TokenEvent, ("llm-router",)),
    "restart": (RestartEvent, ("llm-router",)),
    "done": (DoneEvent, ("gateway",)),
    "result": (ResultEvent, ("log-bridge",)),
    "error": (ErrorEvent, ("gateway", "retriever", "llm-router", "log-bridge")),
}
"""By name: its data, and who writes it."""
