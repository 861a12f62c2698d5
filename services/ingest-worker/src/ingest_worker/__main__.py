"""Runs the ingest-worker with its real adapters."""

from starlette.applications import Starlette

from ingest_worker.adapters.parser_process import ParserProcess
from ingest_worker.adapters.web import WebFetcher
from ingest_worker.app import create_app
from ingest_worker.settings import IngestSettings
from sluice.access import PassportVerifier
from sluice.blobs import BlobStore
from sluice.broker import Broker
from sluice.embedding import create_embedder
from sluice.index import Index
from sluice.passportkeys import PublicKeyFiles
from sluice.sealing import Keyring
from sluice.service import run
from sluice.telemetry import configure_logging


def main() -> tuple[Starlette, IngestSettings]:
    settings = IngestSettings()  # pyright: ignore[reportCallIssue]
    configure_logging("ingest-worker", settings.lane, settings.log_level)
    embedder = create_embedder(settings)
    keyring = Keyring.from_files(settings.level_key_files, settings.data_keys_dir)
    index = Index(settings.chroma_urls, keyring, embedder.name, watched=True)
    verifier = PassportVerifier.of(PublicKeyFiles(settings.passport_public_keys_path))
    app = create_app(
        settings,
        broker=Broker(settings, service="ingest-worker", verifier=verifier, keyring=keyring),
        blobs=BlobStore(settings.data_dir / "blobs", keyring),
        index=index,
        embedder=embedder,
        parse=ParserProcess(settings.parser_limits),
        fetch=WebFetcher(settings.web_limits, allowed=settings.url_allowed_networks),
        check_index=index.check,
    )
    return app, settings


if __name__ == "__main__":
    run(main)
