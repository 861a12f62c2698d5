"""An answer while it comes in: the events of a chat, folded into what the page shows."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sluice_frontend.models import ChatEvent, Passage, Problem

_EXTRACTIVE = "extractive"
RESTORING = "Part of the knowledge is being restored: this answer may lack something"
_CITATIONS = re.compile(r"\s*\[\d{1,3}(?:\s*[,;]\s*\d{1,3})*\]")


def told_by(tier: str) -> str:
    """Who answered, in words."""
    return "Quoted from your documents: no model wrote this" if tier == _EXTRACTIVE else f"Answered by {tier}"


def without_citations(text: str) -> str:
    """The answer as somebody would correct it: its numbers mean nothing outside of this turn."""
    return _CITATIONS.sub("", text)


@dataclass
class LiveAnswer:
    """One question, and as much of its answer as there is; what an attempt before the newest still says is dropped."""

    question: str
    text: str = ""
    passages: tuple[Passage, ...] = ()
    status: str = "Sending…"
    request_id: str | None = None
    conversation_id: str | None = None
    attempt: int = 0
    tier: str | None = None
    problem: Problem | None = None
    ended: bool = False
    restoring: bool = False
    """Whether a part of the knowledge could not be looked into."""

    def apply(self, event: ChatEvent) -> None:
        """Unknown events are ignored: a newer gateway may send more."""
        steps: Mapping[str, Callable[[dict[str, Any]], None]] = {
            "accepted": self._accepted,
            "stage": self._stage,
            "sources": self._sources,
            "token": self._token,
            "restart": self._restart,
            "done": self._done,
            "error": lambda data: self.fail(Problem.model_validate(data)),
        }
        if step := steps.get(event.name):
            step(event.data)

    def fail(self, problem: Problem) -> None:
        self.problem, self.ended, self.status = problem, True, "No answer: see the message"
        self.text, self.passages = "", ()

    @property
    def outcome(self) -> str:
        """What to say beneath the answer once it has ended."""
        told = [told_by(self.tier)] if self.tier else []
        return ". ".join([*told, RESTORING] if self.restoring else told)

    def _accepted(self, data: dict[str, Any]) -> None:
        self.request_id, self.conversation_id = data["request_id"], data["conversation_id"]
        self.status = "Searching…"

    def _stage(self, data: dict[str, Any]) -> None:
        name = str(data["name"])
        self.status = {"retrieving": "Searching…", "answering": "Answering…"}.get(name, f"{name.capitalize()}…")

    def _sources(self, data: dict[str, Any]) -> None:
        self.passages = tuple(Passage.model_validate(passage) for passage in data["passages"])
        self.restoring = bool(data.get("restoring"))

    def _token(self, data: dict[str, Any]) -> None:
        attempt = int(data.get("attempt", self.attempt))
        if attempt < self.attempt:
            return
        self.attempt, self.status = attempt, "Answering…"
        self.text += data["text"]

    def _restart(self, data: dict[str, Any]) -> None:
        self.attempt, self.text = int(data["attempt"]), ""
        self.status = f"Starting again with {data['tier']}…"

    def _done(self, data: dict[str, Any]) -> None:
        self.tier, self.ended = data.get("tier"), True
        cut = " It was cut short." if data.get("finish_reason") == "length" else ""
        lacking = f" {RESTORING}." if self.restoring else ""
        self.status = (f"Answer ready.{cut}" if self.tier is None else f"{told_by(self.tier)}.{cut}") + lacking
