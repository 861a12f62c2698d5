"""What a provider is told to do with a request."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Behaviour(BaseModel):
    """One answer of a model; by default a good one, written from the prompt.

    `status`: anything but 200 is that error. `blocked`: the prompt is refused by the provider's filter.
    `pieces`: the text as it is streamed; None writes one from the prompt, `echo` repeats the prompt.
    `before_headers` and `between` are seconds. After `after` pieces (all of them where it is None) comes `then`:
    `finish` ends in order with `finish_reason`, `cut` ends cleanly without one, `drop` breaks the connection,
    `stall` sends nothing more, `error` sends an error inside the stream, `bare-error` one without a code,
    `garbage` sends what is no JSON.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: int = 200
    reason: str | None = None
    retry_after: str | None = None
    blocked: bool = False
    before_headers: float = 0
    pieces: tuple[str, ...] | None = None
    echo: bool = False
    between: float = 0
    after: int | None = None
    then: Literal["finish", "cut", "drop", "stall", "error", "bare-error", "garbage"] = "finish"
    finish_reason: Literal["stop", "length", "refused", "other"] = "stop"


GOOD = Behaviour()
EMPTY = Behaviour(pieces=())


def says(*pieces: str, **more: object) -> Behaviour:
    return Behaviour.model_validate({"pieces": pieces, **more})


def fails(status: int, *, retry_after: str | None = None, reason: str | None = None) -> Behaviour:
    """`reason` is the vendor's own word for the error, such as API_KEY_INVALID."""
    return Behaviour(status=status, retry_after=retry_after, reason=reason)
