"""One state of the chat: what stands in each output, in their order."""

from typing import Any, NamedTuple

from sluice_frontend.page.events import skip, visible


class Frame(NamedTuple):
    past: str
    live: str
    sources: str
    status: str
    question: str | None = None
    """None while the person may be typing the next one."""
    conversation_id: str = ""
    examples: bool = False
    send: bool = True
    stop: bool = False
    retry: bool = False
    taught_question: str = ""
    taught_answer: str = ""


def outputs(frame: Frame) -> tuple[Any, ...]:
    """A text is a value, a bool whether the component is shown, None leaves it as it is.

    What did not change is given again: Gradio sends only what differs, and of two redraws that reach a browser at once
    it may take the later one alone.
    """
    return tuple(_output(part) for part in frame)


def _output(part: str | bool | None) -> Any:
    if part is None:
        return skip()
    return visible(part) if isinstance(part, bool) else part
