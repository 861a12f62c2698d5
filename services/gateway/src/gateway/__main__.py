"""Runs the gateway with what its environment says."""

from argon2 import PasswordHasher
from fastapi import FastAPI

from gateway.adapters.passwords import Argon2Passwords
from gateway.app import Adapters, create_app
from gateway.database import Database
from gateway.settings import GatewaySettings
from gateway.tokens import read_operator_token
from sluice.access import PassportSigner, PassportVerifier
from sluice.blobs import BlobStore
from sluice.broker import Broker
from sluice.passportkeys import PrivateKeyFile, PublicKeyFiles
from sluice.sealing import Keyring
from sluice.service import run
from sluice.telemetry import configure_logging


def create() -> tuple[FastAPI, GatewaySettings]:
    """Raises pydantic.ValidationError or ConfigurationError for what must not start."""
    settings = GatewaySettings()
    configure_logging("gateway", level=settings.log_level)
    return create_app(settings, adapters=real_adapters(settings)), settings


def real_adapters(settings: GatewaySettings) -> Adapters:
    keyring = Keyring.from_files(settings.both_key_files, settings.data_keys_dir)
    verifier = PassportVerifier.of(PublicKeyFiles(settings.passport_public_keys_path))
    return Adapters(
        database=Database(settings.sql_url),
        broker=Broker(settings, service="gateway", verifier=verifier, keyring=keyring),
        blobs=BlobStore(settings.data_dir / "blobs", keyring),
        keyring=keyring,
        passwords=Argon2Passwords(PasswordHasher()),
        verifier=verifier,
        signer=PassportSigner.of(PrivateKeyFile(settings.passport_key_path)),
        operator_token=read_operator_token(settings.operator_token_path),
    )


if __name__ == "__main__":
    run(create)
