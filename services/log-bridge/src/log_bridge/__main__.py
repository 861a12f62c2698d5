"""Runs the log-bridge with its real adapters."""

from starlette.applications import Starlette

from log_bridge.app import create_app
from log_bridge.settings import LogBridgeSettings
from sluice.access import PassportVerifier
from sluice.broker import Broker
from sluice.passportkeys import PublicKeyFiles
from sluice.sealing import Keyring
from sluice.service import run
from sluice.telemetry import configure_logging


def main() -> tuple[Starlette, LogBridgeSettings]:
    settings = LogBridgeSettings()
    configure_logging("log-bridge", level=settings.log_level)
    verifier = PassportVerifier.of(PublicKeyFiles(settings.passport_public_keys_path))
    no_keys = Keyring({}, settings.data_keys_dir)
    broker = Broker(settings, service="log-bridge", verifier=verifier, keyring=no_keys)
    return create_app(settings, broker), settings


if __name__ == "__main__":
    run(main)
