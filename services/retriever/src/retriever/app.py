"""Puts the retriever together."""

from starlette.applications import Starlette

from retriever.handlers import register
from retriever.ports import PassageIndex
from retriever.retrieve import Retrieve
from retriever.settings import RetrieverSettings
from sluice.broker import Broker
from sluice.embedding import Embedder
from sluice.service import Check, create_worker_app


def create_app(
    settings: RetrieverSettings, *, broker: Broker, index: PassageIndex, embedder: Embedder, check_index: Check
) -> Starlette:
    retrieve = Retrieve(index, embedder, settings.passages, settings.fix_threshold)
    register(broker, retrieve, lane=settings.lane, concurrency=settings.retriever_concurrency)
    return create_worker_app(broker, checks=[check_index])
