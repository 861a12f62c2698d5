"""All services in the test's own loop, each lane with its own keys and servers, and everything replaceable.

Real streams, Chroma, blobs, SQL and HTTP; a cheap embedder and parser, and no model but the extractive one.
"""

import hashlib
import math
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

import ingest_worker.app
import llm_router.app
import retriever.app
from gateway.services import Services
from ingest_worker.documents import ParsedDocument, Section
from ingest_worker.ports import FetchedFile
from ingest_worker.settings import IngestSettings
from llm_router.settings import LlmRouterSettings
from retriever.ports import PassageIndex
from retriever.settings import RetrieverSettings
from sluice.access import Level, PassportVerifier
from sluice.blobs import BlobStore
from sluice.broker import Broker, Delivery
from sluice.embedding import Vector
from sluice.index import Index
from sluice.messages import LogsSearched
from sluice.replies import Event
from sluice.sealing import Keyring
from sluice.settings import CommonSettings
from tests.support.gateway import RunningGateway, gateway_settings, running_gateway
from tests.support.identity import Office
from tests.support.keys import KEYS, keyring

_SIZE = 64
_UNUSED = (Path("unused"),)


class HashEmbedder:
    """Words counted in 64 places: texts of the same words lie together."""

    name = "local/all-MiniLM-L6-v2"  # as the other tests' collections on the shared Chroma

    async def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        return [_vector(text) for text in texts]

    async def embed_query(self, text: str) -> Vector:
        return _vector(text)


def _vector(text: str) -> Vector:
    vector = [1e-3] * _SIZE
    for word in re.findall(r"\w+", text.lower()):
        vector[hashlib.sha256(word.encode()).digest()[0] % _SIZE] += 1
    length = math.sqrt(sum(x * x for x in vector))
    return [x / length for x in vector]


async def parse_text(data: bytes, name: str) -> ParsedDocument:
    return ParsedDocument(kind="text", title=None, sections=(Section(text=data.decode(), page=None),))


async def fetch_nothing(url: str) -> FetchedFile:
    raise AssertionError("nothing is fetched here")


class Whole:
    """How the services are put together. A subclass replaces a part: so a lock is taken away."""

    def __init__(self, folder: Path, redis_url: str, chromas: Mapping[Level, str], office: Office) -> None:
        self.folder, self.redis_url, self.chromas, self.office = folder, redis_url, chromas, office
        self.embedder = HashEmbedder()

    def keyring(self, lane: Level) -> Keyring:
        return keyring(self.folder / "data", {level: KEYS[level] for level in lane.readable})

    def index(self, lane: Level, keys: Keyring) -> Index:
        return Index({level: self.chromas[level] for level in lane.readable}, keys, self.embedder.name)

    def read_index(self, lane: Level, keys: Keyring) -> PassageIndex:
        """The retriever's."""
        return self.index(lane, keys)

    def rewire(self, services: Services) -> Services:
        """The gateway's use cases."""
        return services

    def verifier(self) -> PassportVerifier:
        return self.office.verifier

    @asynccontextmanager
    async def running(self, **changes: Any) -> AsyncGenerator[RunningGateway]:
        async with AsyncExitStack() as stack:
            for lane in Level:
                for app in (self._ingest_worker(lane), self._retriever(lane), self._llm_router(lane)):
                    await stack.enter_async_context(app.router.lifespan_context(app))
            bridge = self._log_bridge()
            await bridge.start()
            stack.push_async_callback(bridge.stop)
            settings = gateway_settings(self.folder, self.redis_url, **changes)
            keys = self.keyring(Level.INTERNAL)
            blobs = BlobStore(settings.data_dir / "blobs", keys)
            broker = self._broker(settings, "gateway", keys)
            replaced = {"keyring": keys, "blobs": blobs, "broker": broker}
            gateway = running_gateway(settings, self.office, rewire=self.rewire, **replaced)
            yield await stack.enter_async_context(gateway)

    def _ingest_worker(self, lane: Level) -> Any:
        settings, keys = IngestSettings(**self._store(lane)), self.keyring(lane)
        index = self.index(lane, keys)
        return ingest_worker.app.create_app(
            settings,
            broker=self._broker(settings, "ingest-worker", keys),
            blobs=BlobStore(self.folder / "data" / "blobs", keys),
            index=index,
            embedder=self.embedder,
            parse=parse_text,
            fetch=fetch_nothing,
            check_index=index.check,
        )

    def _retriever(self, lane: Level) -> Any:
        settings, keys = RetrieverSettings(**self._store(lane)), self.keyring(lane)
        index = self.index(lane, keys)
        return retriever.app.create_app(
            settings,
            broker=self._broker(settings, "retriever", keys),
            index=self.read_index(lane, keys),
            embedder=self.embedder,
            check_index=index.check,
        )

    def _llm_router(self, lane: Level) -> Any:
        settings = LlmRouterSettings(**self._store(lane, chroma=False))
        broker = self._broker(settings, "llm-router", self.keyring(lane))
        return llm_router.app.create_app(settings, broker=broker, models=[], follow_up_model=None)

    def _log_bridge(self) -> Broker:
        """Finds nothing, and starts no child."""
        settings = CommonSettings(redis_url=SecretStr(self.redis_url), port=0)
        broker = self._broker(settings, "log-bridge", self.keyring(Level.EXTERNAL))

        async def on_logs_searched(search: LogsSearched, _: Delivery) -> None:
            result = Event("result", {"total": 0, "took_ms": 1, "hits": [], "warnings": []})
            await broker.plain_replies.finish(search.tenant, Level.INTERNAL, search.request_id, result)

        broker.consume(LogsSearched, on_logs_searched)
        return broker

    def _broker(self, settings: CommonSettings, service: str, keys: Keyring) -> Broker:
        return Broker(settings, service=service, verifier=self.verifier(), keyring=keys)

    def _store(self, lane: Level, *, chroma: bool = True) -> dict[str, Any]:
        internal = lane is Level.INTERNAL
        values: dict[str, Any] = {
            "lane": lane,
            "state_dir": self.folder,
            "redis_url": SecretStr(self.redis_url),
            "external_key_file": _UNUSED,
            "internal_key_file": _UNUSED if internal else (),
            "shutdown_grace_seconds": 2,
        }
        if chroma:
            values["chroma_external_url"] = self.chromas[Level.EXTERNAL]
            values["chroma_internal_url"] = self.chromas[Level.INTERNAL] if internal else None
        return values
