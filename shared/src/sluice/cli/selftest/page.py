"""The page's own endpoints: every function of it called with others' ids, as people and as nobody."""

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx2

from sluice.access import Level
from sluice.cli.selftest.askers import Asker, Reply
from sluice.cli.selftest.holdings import Thing
from sluice.cli.selftest.record import CannotTryError, Record
from sluice.cli.selftest.stage import Stage

_CONFIG = re.compile(r"window\.gradio_config = (\{.*?\});</script>")
_TIMEOUT_SECONDS = 60
_AT_ONCE = 8
_ASKERS = ("EXTERNAL reader", "INTERNAL admin of another tenant", "nobody")
_PERSON = "Person"
_STOLEN = ("document_id", "job_id", "conversation_id", "answer_id")


@dataclass(frozen=True)
class _Page:
    """What the page tells of itself to who is signed in."""

    functions: Sequence[dict[str, Any]] = ()
    chosen: Sequence[tuple[int, Any]] = ()
    """The value of each list, by the component's number: another is refused before the function is called."""
    people: Sequence[int] = ()
    """The fields that name a person."""


def attempt(stage: Stage, record: Record) -> None:
    if stage.page_url is None:
        raise CannotTryError("no --page was given")
    page = _Page()
    for name in _ASKERS:
        asker = stage.named(name)
        try:
            with httpx2.Client(base_url=stage.page_url, timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
                page = _sign_in(client, asker, record) or page
                replies = _call_all(client, asker, record, page, stage)
                _operate(client, asker, record)
        except httpx2.HTTPError as error:
            raise CannotTryError(f"the page does not answer: {type(error).__name__}") from error
        allowed = [canary for canary in stage.canaries if asker.may_have(canary)]
        if asker.email and not any(reply.seen(allowed) for reply in replies):
            raise CannotTryError(f"the page shows the {asker.name} not even what they may see")


def _sign_in(client: httpx2.Client, asker: Asker, record: Record) -> _Page | None:
    """None for who is not let in, which must be nobody."""
    if asker.email:
        client.post("/login", data={"email": asker.email, "password": asker.password, "tenant": asker.tenant})
    front = client.get("/")
    record.found(asker, "GET / of the page", Reply(front.status_code, front.content, str(front.headers)))
    found = _CONFIG.search(front.text)
    if asker.email and not found:
        raise CannotTryError(f"the page does not let the {asker.name} in")
    return _read(json.loads(found.group(1))) if found else None


def _read(config: dict[str, Any]) -> _Page:
    lists = [part for part in config["components"] if part["type"] == "dropdown"]
    return _Page(
        [function for function in config["dependencies"] if function["backend_fn"]],
        [(part["id"], part["props"].get("value")) for part in lists],
        [part["id"] for part in config["components"] if part["props"].get("label") == _PERSON],
    )


def _call_all(client: httpx2.Client, asker: Asker, record: Record, page: _Page, stage: Stage) -> list[Reply]:
    question = stage.of(stage.host.tenant, "document", Level.INTERNAL).question
    stolen = [thing for name in _STOLEN for thing in stage.forbidden_things(asker, name)[-1:]]
    names = [f"{function['api_name']} of the page" for function in page.functions for _ in stolen]
    fill = partial(_sent, page, person=stage.host.id, question=question)
    bodies = [fill(function, thing) for function in page.functions for thing in stolen]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        replies = list(pool.map(partial(_called, client), bodies))
    for name, reply in zip(names, replies, strict=True):
        record.found(asker, name, reply)
    return replies


def _sent(page: _Page, function: dict[str, Any], thing: Thing, *, person: str, question: str) -> dict[str, Any]:
    """The question in the first field, the id in all others and in the event that the browser would tell.

    Where a person is to be named, somebody is, and the id stands in all other fields.

    A choice among buttons is given the id too, which it does not have: so nothing is taught.
    """
    named = dict.fromkeys(page.people, person)
    values: Iterator[str] = iter(() if named.keys() & set(function["inputs"]) else (question,))
    chosen = {**dict(page.chosen), **named}
    data = [chosen[part] if part in chosen else next(values, thing.id) for part in function["inputs"]]
    job = {"job_id": thing.id, "document_id": thing.id, "name": "stolen"}
    return {
        "data": data,
        "fn_index": function["id"],
        "event_data": {"id": thing.id, "jobs": [job]},
        "trigger_id": None,
    }


def _called(client: httpx2.Client, sent: dict[str, Any]) -> Reply:
    tab = secrets.token_hex(5)
    stolen = {"conversation": sent["event_data"]["id"]}
    joined = client.post("/gradio_api/queue/join", params=stolen, json=sent | {"session_hash": tab})
    if joined.is_error:
        return Reply(joined.status_code, joined.content, "")
    try:
        shown = client.get("/gradio_api/queue/data", params={"session_hash": tab})
    except httpx2.RemoteProtocolError:  # Gradio breaks off the stream of a session that it does not know
        return Reply(joined.status_code, joined.content, "")
    return Reply(shown.status_code, shown.content, "")


def _operate(client: httpx2.Client, asker: Asker, record: Record) -> None:
    """The operators' page is open to all, and does nothing without their token."""
    token = asker.http.headers.get("Authorization", "").removeprefix("Bearer ") or "guessed"
    for method, path, sent in (("GET", "/operator", {}), ("POST", "/operator/leaks", {"token": token})):
        reply = client.request(method, path, data=sent)
        told = Reply(reply.status_code, reply.content, str(reply.headers))
        record.found(asker, f"{method} {path} of the page", told)
        if sent:
            record.refused(asker, f"{method} {path} of the page", told)
