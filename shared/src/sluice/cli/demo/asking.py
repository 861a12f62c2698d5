"""A question put to the running system, and the answer as it streamed in."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from sluice.cli.demo.corpus import Question
from sluice.cli.gateway import Gateway
from sluice.errors import TransientError


@dataclass
class Reply:
    """What one person was told."""

    question: Question
    text: str = ""
    passages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    citations: list[int] = field(default_factory=list[int])
    tier: str = ""
    conversation_id: str = ""
    first_token_ms: float | None = None

    @property
    def cited(self) -> list[dict[str, Any]]:
        """The passages that the answer rests on."""
        return [passage for passage in self.passages if passage["n"] in self.citations]


def ask_all(api: Gateway, questions: Sequence[Question]) -> Iterator[Reply]:
    """The replies in the order of the questions.

    Raises:
        TransientError: an answer ended in an error, or without an end.
    """
    conversation = ""
    for question in questions:
        body = {"question": question.text}
        if question.follows_up:
            body["conversation_id"] = conversation
        reply = _ask(api, question, body)
        conversation = reply.conversation_id
        yield reply


def _ask(api: Gateway, question: Question, body: dict[str, str]) -> Reply:
    reply = Reply(question)
    began = time.monotonic()
    with api.events("/chat", body) as events:
        for event in events:
            if _take(reply, event, began):
                return reply
    raise TransientError(f"the answer to {question.text!r} ended without `done` or `error`")


def _take(reply: Reply, event: httpx2.ServerSentEvent, began: float) -> bool:
    """Add an event to the reply; whether it was the last."""
    data: dict[str, Any] = json.loads(event.data or "{}")
    match event.event:
        case "accepted":
            reply.conversation_id = data["conversation_id"]
        case "sources":
            reply.passages = data["passages"]
        case "token":
            reply.first_token_ms = reply.first_token_ms or (time.monotonic() - began) * 1000
            reply.text += data["text"]
        case "restart":
            reply.text = ""
        case "error":
            raise TransientError(f"no answer to {reply.question.text!r}: {data.get('detail')}")
        case "done":
            reply.citations, reply.tier = data["citations"], data["tier"]
            return True
        case _:
            pass
    return False
