"""What really stands in Redis is what the AsyncAPI document says, and the gateway serves that document."""

import json
from importlib.resources import files
from typing import Any

import jsonschema

from llm_router.answer import Answer
from llm_router.chain import Chain
from llm_router.follow_up import FollowUp
from llm_router.handlers import register
from llm_router.tiers import ExtractiveTier
from sluice.access import Level
from sluice.broker import Broker, Delivery
from sluice.errors import PermanentError, TransientError
from sluice.following import LogEntry
from sluice.messages import Passage, QuestionAsked, QuestionGrounded
from sluice.replies import RequestLog
from sluice.settings import CommonSettings
from tests.support.gateway import RunningGateway, all_events
from tests.support.identity import Office
from tests.support.servers import RedisServer
from tests.support.waiting import until

STREAM = "questions.asked.v1.external"
DOCUMENT: dict[str, Any] = json.loads((files("sluice") / "asyncapi.json").read_text())
SCHEMAS = DOCUMENT["components"]["schemas"]


def fits(schema: dict[str, Any], value: Any) -> None:
    """Raises jsonschema.ValidationError; of an object, no field may be unknown to the schema."""
    named = schema["$ref"].rpartition("/")[2]
    closed = {**SCHEMAS[named], "additionalProperties": False, "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(closed).validate(value)


async def test_the_gateway_serves_the_document_to_whoever_asks(gateway: RunningGateway) -> None:
    async with gateway.client() as client:
        answer = await client.get("/asyncapi")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == DOCUMENT


async def test_the_reply_log_of_an_answer_is_as_the_document_says(
    gateway: RunningGateway, empty_valkey: RedisServer, office: Office
) -> None:
    """By the real llm-router, with the extractive tier alone."""
    settings = CommonSettings(redis_url=empty_valkey.url, port=0)
    router = Broker(settings, service="llm-router", verifier=office.verifier, keyring=office.keyring)
    retriever = Broker(settings, service="retriever", verifier=office.verifier, keyring=office.keyring)
    passage = Passage(
        chunk_id="c", document_id="d", title="Guide", access_level=Level.EXTERNAL, text="It takes ten days."
    )

    async def ground(message: QuestionAsked, delivery: Delivery) -> None:
        grounded = {"question": message.question, "search_query": message.search_query, "passages": (passage,)}
        await retriever.publish(message.follow(QuestionGrounded, **grounded))

    answer = Answer(Chain([ExtractiveTier()], reserve_seconds=1))
    register(router, answer, FollowUp(None, 1), lane=Level.INTERNAL, concurrency=1)
    retriever.consume(QuestionAsked, ground, lane=Level.INTERNAL)
    for broker in (router, retriever):
        await broker.start()
    async with await gateway.admin() as admin:
        events = await all_events(admin, "How many days does it take?")
    redis = gateway.adapters.broker.redis
    log = RequestLog("default", Level.INTERNAL, events[0][1]["request_id"], office.keyring)
    entries = await redis.xrange(log.key)
    for entry_id, fields in entries:
        message = DOCUMENT["components"]["messages"][f"Reply{fields[b'event'].decode().title()}"]
        fits(message["payload"], log.open(LogEntry.of(entry_id, fields)).data)
        assert b"days" not in fields[b"data"], "it is sealed"
    names = [fields[b"event"].decode() for _, fields in entries]
    assert (names[:3], names[-1]) == (["sources", "stage", "token"], "done")
    assert entries[-1][0] == b"4294967295-0"
    for broker in (router, retriever):
        await broker.stop()


async def test_what_fails_and_what_is_given_up_stand_as_the_document_says(
    empty_valkey: RedisServer, office: Office
) -> None:
    settings = CommonSettings(redis_url=empty_valkey.url, port=0, retry={"first_seconds": 60})
    broker = Broker(settings, service="retriever", verifier=office.verifier, keyring=office.keyring)

    async def handler(message: QuestionAsked, _: Delivery) -> None:
        raise TransientError("not now") if message.question == "later" else PermanentError("never")

    broker.consume(QuestionAsked, handler, lane=Level.EXTERNAL)
    await broker.start()
    for text in ("later", "never"):
        await broker.publish(office.message(QuestionAsked, question=text, search_query=text))
    [member] = await until(lambda: broker.redis.zrange(f"{{{STREAM}}}:delayed", 0, -1))
    [(_, dead)] = await until(lambda: broker.redis.xrange(f"{{{STREAM}}}:dead"))
    await broker.stop()
    delayed = json.loads(member)
    fits({"$ref": "#/components/schemas/DelayedMember"}, delayed)
    fits({"$ref": "#/components/schemas/SealedMessage"}, json.loads(delayed["body"]))
    fields = {name.decode(): value.decode() for name, value in dead.items()}
    fits({"$ref": "#/components/schemas/SealedMessage"}, json.loads(fields.pop("__data__")))
    fits({"$ref": "#/components/schemas/DeadLetterFields"}, fields)
    assert (delayed["reason"], fields["class"], fields["attempts"]) == ("not now", "PermanentError", "1")
