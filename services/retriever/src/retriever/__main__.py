"""Runs the retriever with its real adapters."""

from starlette.applications import Starlette

from retriever.app import create_app
from retriever.settings import RetrieverSettings
from sluice.access import PassportVerifier
from sluice.broker import Broker
from sluice.embedding import create_embedder
from sluice.index import Index
from sluice.passportkeys import PublicKeyFiles
from sluice.sealing import Keyring
from sluice.service import run
from sluice.telemetry import configure_logging


def main() -> tuple[Starlette, RetrieverSettings]:
    settings = RetrieverSettings()  # pyright: ignore[reportCallIssue]
    configure_logging("retriever", settings.lane, settings.log_level)
    embedder = create_embedder(settings)
    keyring = Keyring.from_files(settings.level_key_files, settings.data_keys_dir)
    index = Index(settings.chroma_urls, keyring, embedder.name)
    verifier = PassportVerifier.of(PublicKeyFiles(settings.passport_public_keys_path))
    broker = Broker(settings, service="retriever", verifier=verifier, keyring=keyring)
    return create_app(settings, broker=broker, index=index, embedder=embedder, check_index=index.check), settings


if __name__ == "__main__":
    run(main)
