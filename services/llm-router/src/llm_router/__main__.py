"""Runs the llm-router with its real adapters."""

from starlette.applications import Starlette

from llm_router.adapters.http import create_client
from llm_router.adapters.models import create_models
from llm_router.app import create_app
from llm_router.settings import LlmRouterSettings
from sluice.access import PassportVerifier
from sluice.broker import Broker
from sluice.passportkeys import PublicKeyFiles
from sluice.sealing import Keyring
from sluice.service import run
from sluice.telemetry import configure_logging


def main() -> tuple[Starlette, LlmRouterSettings]:
    settings = LlmRouterSettings()  # pyright: ignore[reportCallIssue]
    configure_logging("llm-router", settings.lane, settings.log_level)
    http = create_client(connect_seconds=settings.llm_connect_seconds, read_seconds=settings.llm_total_seconds)
    models, follow_up_model = create_models(settings, http)
    verifier = PassportVerifier.of(PublicKeyFiles(settings.passport_public_keys_path))
    keyring = Keyring.from_files(settings.level_key_files, settings.data_keys_dir)
    broker = Broker(settings, service="llm-router", verifier=verifier, keyring=keyring)
    app = create_app(settings, broker=broker, models=models, follow_up_model=follow_up_model, closers=[http.aclose])
    return app, settings


if __name__ == "__main__":
    run(main)
