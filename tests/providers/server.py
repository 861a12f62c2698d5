"""The loopback provider as a server."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette

from tests.providers import azure_openai, control, gemini
from tests.providers.behaviour import Behaviour
from tests.providers.script import Call, Script
from tests.support.waiting import until


class _Server(uvicorn.Server):
    """Leaves the signals to pytest."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@dataclass
class Providers:
    """A running loopback provider: Gemini and Azure OpenAI at one address."""

    base_url: str
    script: Script = field(default_factory=Script)

    def behave(self, model: str, *behaviours: Behaviour) -> None:
        """What the model does with its next requests, one each; the last one stays."""
        self.script.behave(model, *behaviours)

    def calls_of(self, model: str) -> list[Call]:
        return self.script.calls_of(model)


def create_app(script: Script) -> Starlette:
    return Starlette(routes=[*gemini.routes(script), *azure_openai.routes(script), *control.routes(script)])


@asynccontextmanager
async def provider_server() -> AsyncGenerator[Providers]:
    """Runs it in this event loop, on a free port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    providers = Providers(f"http://127.0.0.1:{listener.getsockname()[1]}")
    server = _Server(uvicorn.Config(create_app(providers.script), log_config=None, log_level="critical"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await until(lambda: server.started, what="the loopback provider's start")
        yield providers
    finally:
        server.should_exit = server.force_exit = True
        await serving
        listener.close()
