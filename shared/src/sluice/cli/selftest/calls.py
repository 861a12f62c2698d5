"""Ways that are plain requests: as everyone, with every id of what they must not have."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sluice.access import Level
from sluice.cli.selftest.askers import Asker
from sluice.cli.selftest.record import Record
from sluice.cli.selftest.stage import API, Stage

Attempt = Callable[[Stage, Record], None]
_PARAMETER = re.compile(r"{(\w+)}")


@dataclass(frozen=True)
class Call:
    """A route, with what is sent to it. One with an id in its path is tried with others' ids alone."""

    method: str
    path: str
    content: dict[str, Any] = field(default_factory=dict[str, Any])
    fill: dict[str, str] = field(default_factory=dict[str, str])
    """What stands in the path where no id of the test's own does."""
    only_for: str = ""
    """The one asker who may do it, who then does not: all others must be refused."""

    @property
    def route(self) -> str:
        return f"{self.method} {self.path}"


GUESSED_WAYS_IN = (
    f"POST {API}/auth/oidc/{{issuer}}/begin",
    f"POST {API}/auth/oidc/{{issuer}}/finish",
    f"POST {API}/auth/links/look",
    f"POST {API}/auth/links/use",
)


def make(*calls: Call) -> Attempt:
    def attempt(stage: Stage, record: Record) -> None:
        for call in calls:
            for asker in stage.askers:
                if asker.name != call.only_for:
                    _try(stage, record, asker, call)

    return attempt


def _try(stage: Stage, record: Record, asker: Asker, call: Call) -> None:
    path = _PARAMETER.sub(lambda found: call.fill.get(found.group(1), found.group()), call.path)
    parameter = _PARAMETER.search(path)
    if parameter is None:
        reply = record.send(asker, call.method, path, template=call.path, **call.content)
        if call.only_for:
            record.refused(asker, call.route, reply)
        return
    for thing in stage.forbidden_things(asker, parameter.group(1)):
        record.take(asker, call.method, path, thing, **call.content)


def body(**fields: Any) -> dict[str, Any]:
    return {"json": fields}


def smuggled_chat(stage: Stage, record: Record) -> None:
    """A tenant, a level, a filter or a collection that the client names."""
    wanted = {
        "tenant": stage.host.tenant,
        "access_level": Level.INTERNAL,
        "clearance": Level.INTERNAL,
        "collection": f"{stage.host.tenant}.internal.chunks",
        "where": {"access_level": Level.INTERNAL},
        "filter": {},
    }
    question = stage.of(stage.host.tenant, "document", Level.INTERNAL).question
    for asker in stage.readers:
        for name, value in wanted.items():
            record.send(asker, "POST", f"{API}/chat", json={"question": question, name: value})
        headers = {f"X-{name.title()}": str(value) for name, value in wanted.items()} | _JSON
        record.send(asker, "POST", f"{API}/chat", json={"question": question}, params=_flat(wanted), headers=headers)


def chat(stage: Stage, record: Record) -> None:
    """What was planted, asked for straight out: as a stream, and once as a whole."""
    questions = sorted({canary.question for canary in stage.canaries})
    for asker in stage.askers:
        for number, question in enumerate(questions):
            headers = _JSON if number == 0 else {}
            record.send(asker, "POST", f"{API}/chat", json={"question": question}, headers=headers)


def follow_up(stage: Stage, record: Record) -> None:
    """In a conversation of one's own, and in one of somebody else's."""
    secret = stage.of(stage.host.tenant, "document", Level.INTERNAL)
    for asker in stage.readers:
        own = record.send(asker, "POST", f"{API}/chat", json={"question": secret.question}, headers=_JSON)
        if conversation := _field(own.body, "conversation_id"):
            continued = {"question": f"And of the {secret.topic}?", "conversation_id": conversation}
            record.send(asker, "POST", f"{API}/chat", json=continued, headers=_JSON)
        for thing in stage.forbidden_things(asker, "conversation_id"):
            stolen = {"question": "And what was it again?", "conversation_id": thing.id}
            record.take(asker, "POST", f"{API}/chat", thing, json=stolen)


def resumed(stage: Stage, record: Record) -> None:
    for asker in stage.askers:
        for thing in stage.forbidden_things(asker, "request_id"):
            for headers in ({}, {"Last-Event-ID": "0-0"}, {"Last-Event-ID": "1-1"}):
                record.take(asker, "GET", f"{API}/chat/requests/{{request_id}}/events", thing, headers=headers)


def uploads(stage: Stage, record: Record) -> None:
    """A file of one's own under the name of somebody else's, at their level and at one's own."""
    for asker in stage.askers:
        for canary in stage.canaries:
            if asker.clearance is None or canary.place != "document" or asker.may_have(canary):
                continue
            for level in Level:
                if level not in asker.clearance.readable:
                    files = [("files", ("gate.txt", b"The pass phrase is mine."))]
                    data = {"access_level": level}
                    reply = record.send(asker, "POST", f"{API}/knowledge/documents", files=files, data=data)
                    record.refused(asker, f"POST {API}/knowledge/documents", reply)


def taught(stage: Stage, record: Record) -> None:
    """A fix of one's own at a level above one's own."""
    for asker in stage.askers:
        if asker.clearance is Level.INTERNAL:
            continue
        fix = {"question": "What is the pass phrase?", "answer": "Mine.", "access_level": Level.INTERNAL}
        record.refused(
            asker, f"POST {API}/knowledge/fixes", record.send(asker, "POST", f"{API}/knowledge/fixes", json=fix)
        )


def guessed_password(stage: Stage, record: Record) -> None:
    """Of somebody whom no other way signs in: an address that has failed too often is throttled."""
    route, guessed = f"{API}/auth/login", stage.named("INTERNAL without rights")
    login = {"email": guessed.email, "tenant": guessed.tenant, "password": "a guess"}
    for asker in stage.askers:
        record.refused(asker, f"POST {route}", record.send(asker, "POST", route, json=login))


def guessed_ways_in(stage: Stage, record: Record) -> None:
    """Nobody has begun at an issuer, or was given a link."""
    guess = "guessed-" * 5
    bodies: list[dict[str, Any]] = [
        {"binding_sha256": "0" * 64},
        {"state": guess, "binding": guess, "code": guess},
        {"token": guess},
        {"token": guess, "new_password": "a guessed password"},
    ]
    for asker in stage.askers:
        for route, sent in zip(GUESSED_WAYS_IN, bodies, strict=True):
            method, _, path = route.partition(" ")
            record.refused(asker, route, record.send(asker, method, path.replace("{issuer}", "guessed"), json=sent))


def made_keys(stage: Stage, record: Record) -> None:
    """A key of a higher clearance than one's own."""
    for asker in stage.askers:
        if asker.clearance is Level.INTERNAL:
            continue
        key = {"name": "stolen", "rights": ["read"], "clearance": Level.INTERNAL}
        record.refused(asker, f"POST {API}/keys", record.send(asker, "POST", f"{API}/keys", json=key))


def log_search(stage: Stage, record: Record) -> None:
    """Log lines hold no text; the tenant's clause cannot be lifted."""
    until = datetime.now(UTC)
    span = {"start": (until - timedelta(days=1)).isoformat(), "end": until.isoformat()}
    tenant = stage.host.tenant
    for asker in stage.askers:
        for query in ("*", f"tenant:{tenant}", f"* OR tenant:{tenant}", f"*) OR (tenant:{tenant}"):
            record.send(asker, "POST", f"{API}/logs/search", json={"query": query, **span})


_JSON = {"Accept": "application/json"}


def _flat(values: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}


def _field(text: bytes, name: str) -> str | None:
    found = re.search(rf'"{name}": ?"([^"]+)"'.encode(), text)
    return found.group(1).decode() if found else None
