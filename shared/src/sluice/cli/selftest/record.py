"""What was tried on each way, and what was seen."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx2

from sluice.cli.selftest.askers import Asker, Reply, ask
from sluice.cli.selftest.holdings import Canary, Thing
from sluice.errors import PermanentError

_BROKEN = 500
_REFUSED = 400


class CannotTryError(PermanentError):
    """The way could not be tried, and so nothing was shown of it."""


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """A canary where it must not be."""

    asker: str
    call: str
    canary: str


@dataclass(frozen=True, kw_only=True)
class Trespass:
    """An id of somebody else's that was taken."""

    asker: str
    call: str
    status: int


@dataclass
class Record:
    """One way. Everything that comes back to an asker is searched for every canary that they may not be given."""

    way: str
    canaries: Sequence[Canary]
    asked: list[str] = field(default_factory=list[str])
    askers: set[str] = field(default_factory=set[str])
    seen: list[Sighting] = field(default_factory=list[Sighting])
    trespasses: list[Trespass] = field(default_factory=list[Trespass])
    untried: list[str] = field(default_factory=list[str])

    def send(self, asker: Asker, method: str, path: str, *, template: str = "", **content: Any) -> Reply:
        """A request; a server that breaks, or does not answer, proves nothing."""
        call = f"{method} {template or path}"
        try:
            reply = ask(asker, method, path, **content)
        except httpx2.HTTPError as error:
            self.untried.append(f"{call} as {asker.name}: {type(error).__name__}")
            return Reply(0, b"", "")
        if reply.status >= _BROKEN:
            self.untried.append(f"{call} as {asker.name}: answered {reply.status}")
        self.found(asker, call, reply)
        return reply

    def found(self, asker: Asker, call: str, reply: Reply) -> None:
        self._note(asker, call)
        forbidden = [canary for canary in self.canaries if not asker.may_have(canary)]
        self.seen += [Sighting(asker=asker.name, call=call, canary=canary.name) for canary in reply.seen(forbidden)]

    def take(self, asker: Asker, method: str, path: str, thing: Thing, **content: Any) -> Reply:
        """The same with somebody else's id in the path, which must be refused."""
        reply = self.send(asker, method, path.replace(f"{{{thing.parameter}}}", thing.id), template=path, **content)
        self.refused(asker, f"{method} {path}", reply)
        return reply

    def refused(self, asker: Asker, call: str, reply: Reply) -> None:
        """What must not be done has not been."""
        if 0 < reply.status < _REFUSED:
            self.trespasses.append(Trespass(asker=asker.name, call=call, status=reply.status))

    def as_json(self) -> dict[str, Any]:
        return {
            "way": self.way,
            "requests": len(self.asked),
            "asked": sorted(set(self.asked)),
            "as": sorted(self.askers),
            "seen": [asdict(sighting) for sighting in self.seen],
            "trespasses": [asdict(trespass) for trespass in self.trespasses],
            "untried": self.untried,
        }

    def _note(self, asker: Asker, call: str) -> None:
        self.asked.append(call)
        self.askers.add(asker.name)
