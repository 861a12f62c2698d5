"""Runs the page with the real settings: `python -m sluice_frontend`."""

import asyncio

import uvicorn

from sluice_frontend.adapters.gateway import HttpGateway
from sluice_frontend.app import create_app
from sluice_frontend.settings import Settings, silence_gradio
from sluice_frontend.telemetry import configure_logging


async def serve(settings: Settings) -> None:
    gateway = HttpGateway(str(settings.gateway_url))
    config = uvicorn.Config(
        create_app(settings, gateway=gateway),
        host=settings.host,
        port=settings.page_port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.shutdown_grace_seconds),
    )
    try:
        await uvicorn.Server(config).serve()
    finally:
        await gateway.close()


def main() -> None:
    settings = Settings()
    silence_gradio()
    configure_logging(settings.log_level)
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
