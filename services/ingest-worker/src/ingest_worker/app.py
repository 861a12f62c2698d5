"""Puts the ingest-worker together."""

from starlette.applications import Starlette

from ingest_worker.delete import Delete
from ingest_worker.handlers import register_documents, register_fixes
from ingest_worker.ingest import Ingest
from ingest_worker.ports import Blobs, ChunkIndex, Fetch, Parse
from ingest_worker.settings import IngestSettings
from ingest_worker.teach import Teach, Withdraw
from sluice.broker import Broker
from sluice.embedding import Embedder
from sluice.service import Check, create_worker_app


def create_app(
    settings: IngestSettings,
    *,
    broker: Broker,
    blobs: Blobs,
    index: ChunkIndex,
    embedder: Embedder,
    parse: Parse,
    fetch: Fetch,
    check_index: Check,
) -> Starlette:
    """The worker of one lane, as an ASGI app that consumes while it lives."""
    register_documents(
        broker,
        Ingest(blobs=blobs, index=index, embedder=embedder, parse=parse, fetch=fetch),
        Delete(blobs=blobs, index=index),
        lane=settings.lane,
        document_concurrency=settings.document_concurrency,
        delete_concurrency=settings.fix_concurrency,
    )
    register_fixes(
        broker,
        Teach(blobs=blobs, index=index, embedder=embedder),
        Withdraw(blobs=blobs, index=index),
        lane=settings.lane,
        concurrency=settings.fix_concurrency,
    )
    return create_worker_app(broker, checks=[check_index])
