"""What the clients sent and what they were told, kept by the clients: the measure of all that the system says."""

import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from tests.chaos.report import Figures

TERMINAL = ("done", "error")
Event = tuple[str, Any, str]


@dataclass
class Request:
    """One thing that a client asked for, under one key however often it had to ask."""

    kind: Literal["document", "chat"]
    name: str
    """The document's name, or the question."""
    key: str = field(default_factory=lambda: uuid4().hex)
    sent: float = field(default_factory=time.monotonic)
    ids: list[str] = field(default_factory=list[str])
    """The jobs or requests that it was told; two different ones are one too many."""
    document_id: str = ""
    conversation_id: str = ""
    events: list[Event] = field(default_factory=list[Event])
    ended: float | None = None
    breaks: int = 0
    """How often a stream of it broke off."""

    @property
    def id(self) -> str | None:
        return self.ids[0] if self.ids else None

    @property
    def last_id(self) -> str | None:
        """The Last-Event-ID to go on from."""
        return next((event_id for _, _, event_id in reversed(self.events) if event_id), None)

    @property
    def ends(self) -> list[str]:
        return [name for name, _, _ in self.events if name in TERMINAL]

    @property
    def text(self) -> str:
        """A chat's answer as it is shown: a restart begins anew."""
        names = [name for name, _, _ in self.events]
        begin = max((i for i, name in enumerate(names) if name == "restart"), default=0)
        return "".join(data["text"] for name, data, _ in self.events[begin:] if name == "token")

    def accept(self, request_id: str) -> None:
        if request_id not in self.ids:
            self.ids.append(request_id)

    def take(self, event: Event) -> None:
        self.events.append(event)
        if event[0] in TERMINAL:
            self.ended = time.monotonic()

    @property
    def repeated(self) -> int:
        """Events that came again, or after the end."""
        ids = [event_id for _, _, event_id in self.events if event_id]
        positions = [tuple(map(int, event_id.split("-"))) for event_id in ids]
        backwards = sum(later <= earlier for earlier, later in itertools.pairwise(positions))
        return backwards + max(0, len(self.ends) - 1)


class Ledger:
    """Everything that clients sent. `moments` counts what they were told, to choose random moments by."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.moments = 0

    def __iter__(self) -> Iterator[Request]:
        return iter(self.requests)

    def send(self, kind: Literal["document", "chat"], name: str) -> Request:
        request = Request(kind, name)
        self.requests.append(request)
        return request

    def take(self, request: Request, event: Event) -> None:
        request.take(event)
        self.moments += 1

    def of(self, kind: str) -> list[Request]:
        return [request for request in self.requests if request.kind == kind]

    def count(self, figures: Figures) -> None:
        """What clients can tell by themselves: no end, a bad end, two ends, an event twice, two jobs for one key."""
        figures.requests += len(self.requests)
        for request in self.requests:
            figures.unanswered += not request.ends
            figures.lost += request.ends[:1] == ["error"]
            figures.duplicated += request.repeated + max(0, len(request.ids) - 1)
        figures.duplicated += sum(n - 1 for n in Counter(r.id for r in self.requests if r.id).values())

    def troubles(self) -> list[str]:
        """A line for each request that did not end as it should, for the message of a failed test."""
        return [
            f"{r.kind} {r.name!r} ids={r.ids} breaks={r.breaks} ends={r.ends} last={r.events[-1:]}"
            for r in self.requests
            if r.ends != ["done"] or r.repeated or len(r.ids) != 1
        ]

    def write(self, file: Path) -> None:
        file.write_text("".join(json.dumps(vars(request), default=str) + "\n" for request in self.requests))
