"""What the use cases need of the outside, and the words in which they speak with it."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Literal, Protocol

from sluice.errors import TransientError
from sluice.messages import Passage, Turn, Usage
from sluice.replies import Event


@dataclass(frozen=True)
class Inquiry:
    """A question to answer from its passages, which are numbered from 1 in their order.

    `search_query` is the question in a form that stands alone, `history` the turns before, oldest first. `restoring`: a
    part of the knowledge could not be looked into.
    """

    question: str
    search_query: str
    history: tuple[Turn, ...] = ()
    passages: tuple[Passage, ...] = ()
    restoring: bool = False


@dataclass(frozen=True)
class Prompt:
    """What a language model reads: the rules, the turns before, oldest first, and what it is asked now."""

    system: str
    user: str
    max_output_tokens: int
    turns: tuple[Turn, ...] = ()


@dataclass(frozen=True)
class Text:
    """A piece of an answer, never empty."""

    text: str


NOT_COUNTED = Usage()


@dataclass(frozen=True)
class Final:
    """How the speaker itself ended its answer; a stream that ends without one was cut."""

    finish_reason: Literal["stop", "length", "refused"]
    usage: Usage = NOT_COUNTED


Piece = Text | Final


class Failure(StrEnum):
    """Why a tier did not answer."""

    RATE_LIMITED = "rate-limited"
    SERVER_ERROR = "server-error"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    AUTHENTICATION = "authentication"
    NOT_FOUND = "not-found"
    BAD_RESPONSE = "bad-response"
    CUT = "cut"
    EMPTY = "empty"
    SATURATED = "saturated"
    """This process has no free connection: no fault of the provider."""


class TierUnavailableError(TransientError):
    """A tier cannot answer now, and another may; `retry_after` is what the provider asked for."""

    type = "tier-unavailable"

    def __init__(self, reason: Failure, detail: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.reason = reason


class Model(Protocol):
    """A language model at a vendor."""

    @property
    def name(self) -> str: ...

    def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """The answer as it is written, with a Final at its end.

        Closing the generator, or cancelling the task that reads it, closes the request to the vendor before it returns.

        Raises:
            TierUnavailableError: the vendor does not answer, or breaks off.
            PermanentError: the vendor calls the request wrong, so that no other would take it.
        """
        ...


@dataclass(frozen=True)
class Limits:
    """Seconds that a tier may take to its first text, between two pieces, and in all."""

    first_token: float
    between_tokens: float
    total: float


class Tier(Protocol):
    """One of those who may answer, in order of preference."""

    @property
    def name(self) -> str: ...

    @property
    def limits(self) -> Limits: ...

    def answer(self, inquiry: Inquiry) -> AsyncGenerator[Piece, None]:
        """As Model.stream, from an inquiry."""
        ...


class Writer(Protocol):
    """Where the events of an answer are written."""

    async def append(self, *events: Event) -> None:
        """Writes the events; without events it only looks whether to go on.

        Raises:
            CancelledByClientError: the asker is gone.
            SupersededError: somebody else writes this answer now.
        """
        ...
