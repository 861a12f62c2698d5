"""Runs the page with the real settings: `python -m sluice_frontend`."""

import asyncio
from socket import socket

import uvicorn

from sluice_frontend.adapters.gateway import HttpGateway
from sluice_frontend.app import create_app
from sluice_frontend.settings import Settings, silence_gradio
from sluice_frontend.telemetry import configure_logging


class Server(uvicorn.Server):
    """Lets go of open tabs before it waits for the answers that are still being written."""

    def __init__(self, config: uvicorn.Config, closing: asyncio.Event) -> None:
        super().__init__(config)
        self._closing = closing

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        self._closing.set()
        await super().shutdown(sockets)


async def serve(settings: Settings) -> None:
    gateway, closing = HttpGateway(str(settings.gateway_url)), asyncio.Event()
    config = uvicorn.Config(
        create_app(settings, gateway=gateway, closing=closing),
        http="h11",  # which bounds a request's head; what uvicorn takes otherwise does not
        host=settings.host,
        port=settings.page_port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.shutdown_grace_seconds),
    )
    try:
        await Server(config, closing).serve()
    finally:
        await gateway.close()


def main() -> None:
    settings = Settings()
    silence_gradio()
    configure_logging(settings.log_level)
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
