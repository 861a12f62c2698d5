"""Puts the ingest-worker together."""

from starlette.applications import Starlette

from ingest_worker.delete import Delete
from ingest_worker.handlers import register_deletions, register_documents, register_fixes, register_indexes
from ingest_worker.ingest import Ingest
from ingest_worker.ports import Blobs, Fetch, Parse, WorkerIndex
from ingest_worker.precedence import Precedence, YieldingEmbedder
from ingest_worker.rebuild import Rebuild, Verify
from ingest_worker.settings import IngestSettings
from ingest_worker.teach import Teach, Withdraw
from ingest_worker.watch import Watch
from sluice.broker import Broker
from sluice.embedding import Embedder
from sluice.messages import BulkDocumentSubmitted
from sluice.service import Check, create_worker_app


def create_app(
    settings: IngestSettings,
    *,
    broker: Broker,
    blobs: Blobs,
    index: WorkerIndex,
    embedder: Embedder,
    parse: Parse,
    fetch: Fetch,
    check_index: Check,
) -> Starlette:
    """The worker of one lane, as an ASGI app that consumes while it lives."""
    precedence = Precedence()
    first = precedence.interactive
    yielding = YieldingEmbedder(embedder, precedence)
    register_documents(
        broker,
        Ingest(blobs=blobs, index=index, embedder=embedder, parse=parse, fetch=fetch, embedding=first),
        lane=settings.lane,
        concurrency=settings.document_concurrency,
    )
    register_documents(
        broker,
        Ingest(blobs=blobs, index=index, embedder=yielding, parse=parse, fetch=fetch),
        lane=settings.lane,
        concurrency=settings.bulk_concurrency,
        kind=BulkDocumentSubmitted,
    )
    register_deletions(
        broker, Delete(blobs=blobs, index=index), lane=settings.lane, concurrency=settings.fix_concurrency
    )
    register_fixes(
        broker,
        Teach(blobs=blobs, index=index, embedder=embedder, embedding=first),
        Withdraw(blobs=blobs, index=index),
        lane=settings.lane,
        concurrency=settings.fix_concurrency,
    )
    register_indexes(
        broker,
        Rebuild(blobs=blobs, index=index, model=embedder.name),
        Verify(blobs=blobs, index=index, model=embedder.name),
        lane=settings.lane,
    )
    # Each lane watches and rebuilds the level that it is named after, and no other.
    watch = Watch(index.upkeep(settings.lane), blobs, broker.publish_unsigned)
    return create_worker_app(broker, checks=[check_index], companions=[watch.forever])
