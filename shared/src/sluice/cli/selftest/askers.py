"""Who asks, and what came back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from sluice.access import Level
from sluice.cli.selftest.holdings import Canary, Holding


@dataclass(frozen=True, kw_only=True)
class Asker:
    """Whoever calls: a person, an API key, an operator or nobody. Without a tenant they may be given no text at all."""

    name: str
    http: httpx2.Client
    tenant: str = ""
    clearance: Level | None = None
    chats: bool = False
    email: str = ""
    password: str = field(default="", repr=False)
    id: str = ""

    def may_have(self, holding: Holding) -> bool:
        ours = self.clearance is not None and holding.tenant == self.tenant and holding.level in self.clearance.readable
        return ours and holding.owner in ("", self.name)


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    headers: str

    def seen(self, canaries: Sequence[Canary]) -> list[Canary]:
        text = self.body + self.headers.encode()
        return [canary for canary in canaries if canary.word.encode() in text]


def ask(asker: Asker, method: str, path: str, **content: Any) -> Reply:
    """Raises httpx2.HTTPError."""
    response = asker.http.request(method, path, **content)
    return Reply(response.status_code, response.content, str(response.headers.multi_items()))
