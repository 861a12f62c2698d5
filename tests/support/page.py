"""The page, running before a stand-in gateway, and a browser without a screen that speaks Gradio's protocol."""

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from pydantic import AnyHttpUrl
from starlette.types import ASGIApp, Receive, Scope, Send

from sluice_frontend.adapters.gateway import HttpGateway
from sluice_frontend.app import create_app
from sluice_frontend.settings import Settings, silence_gradio
from tests.support.fake_gateway import FakeGateway, FakePerson
from tests.support.ports import free_port
from tests.support.serving import serving

STAFF = "ruth@razorpay.com"
CUSTOMER = "eve@example.com"
PASSWORD = "correct horse"


@dataclass
class Stage:
    """A running page; each test puts a gateway of its own behind it."""

    url: str
    gateway_url: str
    state_dir: Path
    gateway: FakeGateway = field(default_factory=FakeGateway)

    def new_gateway(self) -> FakeGateway:
        customer = FakePerson(CUSTOMER, clearance="EXTERNAL", rights=("read",))
        self.gateway = FakeGateway(people=[FakePerson(STAFF), customer])
        return self.gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self.gateway.app()(scope, receive, send)


@contextmanager
def running_page(state_dir: Path) -> Iterator[Stage]:
    gateway_port, port = free_port(), free_port()
    stage = Stage(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{gateway_port}", state_dir)
    with serving(stage, gateway_port), serving(page_app(stage), port):
        yield stage


def page_app(stage: Stage) -> ASGIApp:
    silence_gradio()
    settings = Settings(gateway_url=AnyHttpUrl(stage.gateway_url), state_dir=stage.state_dir)
    return create_app(settings, gateway=HttpGateway(stage.gateway_url), closing=asyncio.Event())


class Visitor:
    """A client with a cookie jar of its own. `session_hash` is what Gradio's script would make up for a tab."""

    def __init__(self, url: str, *, session_hash: str = "tab1") -> None:
        self.http = httpx2.Client(base_url=url, timeout=15, trust_env=False)
        self.session_hash = session_hash

    def sign_in(self, email: str = STAFF, password: str = PASSWORD, **more: str) -> httpx2.Response:
        return self.http.post("/login", data={"email": email, "password": password, **more})

    def csrf(self) -> str:
        """The token of the forms, as the header's has it."""
        found = re.search(r'name=\\*"csrf\\*" value=\\*"(\w+)', shown(self.call("greet")))
        assert found
        return found.group(1)

    def config(self) -> dict[str, Any]:
        found = re.search(r"window\.gradio_config = (\{.*?\});</script>", self.http.get("/").text)
        assert found
        return json.loads(found.group(1))

    def call(self, name: str, *data: Any, event_data: Any = None) -> list[dict[str, Any]]:
        """Every message of one event, by the name of its Python function."""
        self.join(name, *data, event_data=event_data)
        with self.http.sse("/gradio_api/queue/data", params={"session_hash": self.session_hash}) as source:
            return [json.loads(event.data) for event in source]

    def join(self, name: str, *data: Any, event_data: Any = None) -> httpx2.Response:
        body = {"data": list(data), "fn_index": self.function(name), "session_hash": self.session_hash}
        return self.http.post("/gradio_api/queue/join", json=body | {"event_data": event_data, "trigger_id": None})

    def function(self, name: str) -> int:
        return next(made["id"] for made in self.config()["dependencies"] if made["api_name"] == name)


def shown(messages: list[dict[str, Any]]) -> str:
    """All that the messages put on the page."""
    return json.dumps([message.get("output") for message in messages], ensure_ascii=False)
