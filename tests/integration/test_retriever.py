"""The retriever between real streams, a real Chroma and the local embedding model."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from retriever.handlers import register
from retriever.retrieve import Retrieve
from sluice.access import Level, Right
from sluice.broker import Broker, Delivery
from sluice.embedding import Embedder, create_embedder
from sluice.index import Index, IndexedChunk
from sluice.messages import Fix, QuestionAsked, QuestionGrounded, RetrievalRecorded
from sluice.replies import Event
from sluice.settings import CommonSettings, EmbeddingSettings
from tests.support.identity import Office, passport
from tests.support.keys import keyring
from tests.support.servers import ChromaServer, RedisServer, chroma_server, running
from tests.support.waiting import until

TEXTS = {
    Level.EXTERNAL: "Refunds to debit cards take five working days.",
    Level.INTERNAL: "Agents may approve refunds of up to 5,000 without asking.",
}


@pytest.fixture(scope="module")
def chromas(tmp_path_factory: pytest.TempPathFactory, chroma: ChromaServer) -> Iterator[dict[Level, str]]:
    folder: Path = tmp_path_factory.mktemp("internal")
    with running(chroma_server(folder)) as internal:
        yield {Level.EXTERNAL: chroma.url, Level.INTERNAL: internal.url}


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return create_embedder(EmbeddingSettings())


@pytest.fixture
async def index(chromas: dict[Level, str], embedder: Embedder, tmp_path: Path) -> Index:
    index = Index(chromas, keyring(tmp_path), embedder.name)
    tenant = f"tenant-{os.urandom(4).hex()}"
    scope = passport(tenant=tenant, clearance=Level.INTERNAL).scope
    for level, text in TEXTS.items():
        [vector] = await embedder.embed_documents([text])
        chunk = IndexedChunk(
            chunk_id=f"{level}",
            document_id="d",
            generation=1,
            ordinal=0,
            title="Refunds",
            text=text,
            page=None,
            offset=0,
            vector=vector,
        )
        await index.upsert(scope, level, [chunk])
    index.tenant = tenant  # pyright: ignore[reportAttributeAccessIssue]
    return index


@pytest.fixture
async def asked(valkey: RedisServer, office: Office, index: Index, embedder: Embedder) -> AsyncIterator[Any]:
    """Asks a question on its stream; gives what the retriever says of it."""
    client = redis.asyncio.Redis.from_url(valkey.url)
    await client.flushall()
    await client.aclose()
    settings = CommonSettings(redis_url=valkey.url, port=0)
    retriever = Broker(settings, service="retriever", verifier=office.verifier, keyring=office.keyring)
    router = Broker(settings, service="llm-router", verifier=office.verifier, keyring=office.keyring)
    grounded: dict[str, QuestionGrounded] = {}

    async def keep(message: QuestionGrounded, _: Delivery) -> None:
        grounded[message.request_id] = message

    for lane in Level:
        register(retriever, Retrieve(index, embedder, 6, 0.75), lane=lane, concurrency=2)
        router.consume(QuestionGrounded, keep, lane=lane)
    gateway = Broker(settings, service="gateway", verifier=office.verifier, keyring=office.keyring)
    recorded: dict[str, RetrievalRecorded] = {}

    async def note(message: RetrievalRecorded, _: Delivery) -> None:
        recorded[message.request_id] = message

    gateway.consume(RetrievalRecorded, note)
    brokers = (retriever, router, gateway)
    for broker in brokers:
        await broker.start()

    async def ask(question: str, clearance: Level, **changes: Any) -> Any:
        tenant = index.tenant  # pyright: ignore[reportAttributeAccessIssue]
        message = office.message(
            QuestionAsked, question=question, search_query=question, tenant=tenant, clearance=clearance, **changes
        )
        await retriever.publish(message)

        async def answered() -> Any:
            if message.request_id in grounded:
                return grounded[message.request_id]
            if await retriever.replies.finished(clearance, message.request_id):
                return await retriever.replies.terminal(message.tenant, clearance, message.request_id)
            return None

        return await until(answered)

    ask.recorded = recorded  # pyright: ignore[reportFunctionMemberAccess]
    ask.replies = retriever.replies  # pyright: ignore[reportFunctionMemberAccess]
    yield ask
    for broker in brokers:
        await broker.stop()


async def test_the_same_question_is_grounded_on_what_each_may_read(asked: Any) -> None:
    internal = await asked("What may an agent refund?", Level.INTERNAL)
    external = await asked("What may an agent refund?", Level.EXTERNAL)
    assert {p.access_level for p in internal.passages} == {Level.INTERNAL, Level.EXTERNAL}
    assert [p.text for p in external.passages] == [TEXTS[Level.EXTERNAL]]
    assert internal.passages[0].text == TEXTS[Level.INTERNAL]


async def test_what_was_found_and_where_is_told_to_the_audit_log_by_ids_alone(asked: Any, index: Index) -> None:
    tenant = index.tenant  # pyright: ignore[reportAttributeAccessIssue]
    for clearance in Level:
        grounded = await asked("What may an agent refund?", clearance)
        recorded: RetrievalRecorded = await until(lambda r=grounded.request_id: asked.recorded.get(r))
        told = [(p.passage_id, p.document_id, p.access_level) for p in recorded.passages]
        assert told == [(p.chunk_id, p.document_id, p.access_level) for p in grounded.passages]
        assert set(recorded.collections) == {f"{tenant}.{level.lower()}.chunks" for level in clearance.readable}
        assert not any(text in recorded.model_dump_json() for text in (*TEXTS.values(), "may an agent"))


async def test_a_person_without_the_right_to_read_is_refused_with_an_error(asked: Any) -> None:
    """case 10: no read without a scope and the right."""
    ended = await asked("What may an agent refund?", Level.INTERNAL, passport_rights=frozenset({Right.UPLOAD}))
    assert (ended.name, ended.data["status"]) == ("error", 403)


async def test_a_taught_fix_comes_first_for_a_question_in_other_words(
    asked: Any, index: Index, embedder: Embedder
) -> None:
    fix = Fix(fix_id="f", question="How much can an agent refund?", answer="4,000.", access_level=Level.INTERNAL)
    scope = passport(tenant=index.tenant, clearance=Level.INTERNAL).scope  # pyright: ignore[reportAttributeAccessIssue]
    await index.put_fix(scope, Level.INTERNAL, fix, await embedder.embed_query(fix.question))
    internal = await asked("How much is an agent allowed to refund?", Level.INTERNAL)
    external = await asked("How much is an agent allowed to refund?", Level.EXTERNAL)
    assert (internal.passages[0].fix, internal.passages[0].text) == (True, "4,000.")
    assert not any(p.fix for p in external.passages)


async def test_a_question_that_is_begun_again_is_grounded_although_its_lost_run_has_replied(asked: Any) -> None:
    await asked.replies.writer("tenant-a", Level.EXTERNAL, "begun-again", 5).append(
        Event("token", {"text": "Lost", "attempt": 9})
    )
    grounded = await asked("How long do refunds take?", Level.EXTERNAL, request_id="begun-again", run=2)
    assert (grounded.run, len(grounded.passages) > 0) == (2, True)


async def test_a_cancelled_question_is_not_searched_for(asked: Any) -> None:
    await asked.replies.cancel(Level.EXTERNAL, "gone")
    grounded = await asked("How long do refunds take?", Level.EXTERNAL, request_id="gone")
    assert grounded.passages == ()
