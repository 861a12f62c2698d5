"""One state of the chat: what stands in each output, in their order."""

from typing import Any, NamedTuple

from sluice_frontend.page.events import HIDDEN, SHOWN, SKIP


class Frame(NamedTuple):
    past: str
    live: str
    sources: str
    status: str
    question: str = ""
    conversation_id: str = ""
    examples: dict[str, Any] = HIDDEN
    send: dict[str, Any] = SHOWN
    stop: dict[str, Any] = HIDDEN
    retry: dict[str, Any] = HIDDEN
    taught_question: str = ""
    taught_answer: str = ""


def changes(frame: Frame, before: Frame | None) -> tuple[Any, ...]:
    """The frame as outputs, without what stands there already: every redraw is sent to the browser."""
    if before is None:
        return tuple(frame)
    return tuple(SKIP if new == old else new for new, old in zip(frame, before, strict=True))
