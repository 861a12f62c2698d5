"""The page's own endpoints: every function of it called, as people and as nobody."""

import json
import re
import secrets
from typing import Any

import httpx2

from sluice.cli.selftest.askers import Asker, Reply
from sluice.cli.selftest.record import CannotTryError, Record
from sluice.cli.selftest.stage import Stage

_CONFIG = re.compile(r"window\.gradio_config = (\{.*?\});</script>")
_TIMEOUT_SECONDS = 30


def attempt(stage: Stage, record: Record) -> None:
    if stage.page_url is None:
        raise CannotTryError("no --page was given")
    stolen = [thing.id for thing in stage.things if thing.tenant == stage.host.tenant]
    functions: dict[str, Any] = {}
    for name in ("EXTERNAL reader", "INTERNAL admin of another tenant", "nobody"):
        asker = stage.named(name)
        try:
            with httpx2.Client(base_url=stage.page_url, timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
                functions = _sign_in(client, asker, record) or functions
                _call_all(client, asker, record, functions, stolen)
        except httpx2.HTTPError as error:
            raise CannotTryError(f"the page does not answer: {type(error).__name__}") from error


def _sign_in(client: httpx2.Client, asker: Asker, record: Record) -> dict[str, Any]:
    """The page's functions by their numbers, where the asker may see them."""
    if asker.email:
        client.post("/login", data={"email": asker.email, "password": asker.password, "tenant": asker.tenant})
    front = client.get("/")
    record.found(asker, "GET / of the page", Reply(front.status_code, front.content, str(front.headers)))
    found = _CONFIG.search(front.text)
    if asker.email and not found:
        raise CannotTryError(f"the page does not let the {asker.name} in")
    return json.loads(found.group(1)) if found else {}


def _call_all(client: httpx2.Client, asker: Asker, record: Record, config: dict[str, Any], stolen: list[str]) -> None:
    for function in config.get("dependencies", []):
        for thing in stolen[:3]:
            record.found(asker, f"{function['api_name']} of the page", _called(client, function, thing))


def _called(client: httpx2.Client, function: dict[str, Any], thing: str) -> Reply:
    tab = secrets.token_hex(5)
    join = {"data": [thing for _ in function["inputs"]], "fn_index": function["id"], "session_hash": tab}
    joined = client.post("/gradio_api/queue/join", json=join | {"event_data": None, "trigger_id": None})
    if joined.is_error:
        return Reply(joined.status_code, joined.content, "")
    try:
        shown = client.get("/gradio_api/queue/data", params={"session_hash": tab})
    except httpx2.RemoteProtocolError:  # Gradio breaks off the stream of a session that it does not know
        return Reply(joined.status_code, joined.content, "")
    return Reply(shown.status_code, shown.content, "")
