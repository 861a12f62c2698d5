"""The whole llm-router between real streams and the loopback providers."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from llm_router.adapters.http import create_client
from llm_router.adapters.models import create_models
from llm_router.app import create_app
from llm_router.extractive import NO_MODEL
from llm_router.settings import LlmRouterSettings
from sluice.access import Level, Right
from sluice.broker import Broker, Delivery
from sluice.messages import AnswerCompleted, Message, Passage, QuestionAsked, QuestionFollowedUp, QuestionGrounded, Turn
from sluice.replies import Event
from sluice.settings import CommonSettings
from tests.providers import EMPTY, Behaviour, Providers, fails, provider_server, says
from tests.support.identity import Office
from tests.support.servers import RedisServer
from tests.support.waiting import until

PRO, FLASH, AZURE = "gemini-2.5-pro", "gemini-2.5-flash", "gpt-4o"
QUESTION = "How long do refunds take for debit cards?"
FOLLOW_UP = "and for credit cards?"
HISTORY = (Turn(question=QUESTION, answer="Refunds for debit cards take 5 days. [1]"),)
TENANT = "tenant-a"
STALLS = says("Half an answer", after=1, then="stall")


def passage(text: str, level: Level = Level.EXTERNAL, **fields: Any) -> Passage:
    return Passage(chunk_id="c", document_id="d", title="Refunds", access_level=level, text=text, score=0.7, **fields)


PASSAGES = (
    passage("Refunds for debit cards take 5 days. Refunds for credit cards take 3 days."),
    passage("Chargebacks cost 15 euros.", page=2),
)


@dataclass
class Outside:
    """What the router sees of the other services: their messages, and the reply logs."""

    office: Office
    broker: Broker
    providers: Providers
    completed: dict[str, AnswerCompleted] = field(default_factory=dict[str, AnswerCompleted])
    asked: dict[str, QuestionAsked] = field(default_factory=dict[str, QuestionAsked])

    async def ground(self, question: str = QUESTION, *, clearance: Level = Level.EXTERNAL, **fields: Any) -> str:
        """Puts a grounded question on its stream; the id of its request."""
        values: dict[str, Any] = {"search_query": question, "passages": PASSAGES, **fields}
        message = self.office.message(QuestionGrounded, question=question, clearance=clearance, **values)
        await self.broker.publish(message)
        return message.request_id

    async def answer(self, request_id: str) -> AnswerCompleted:
        return await until(lambda: self.completed.get(request_id), what="the answer")

    async def events(self, request_id: str, lane: Level = Level.EXTERNAL) -> list[Event]:
        """What stands on the reply log of a request that is answered."""
        await self.broker.replies.finish(TENANT, lane, request_id, Event("done"))
        return [event async for event in self.broker.replies.read(TENANT, lane, request_id)][:-1]

    async def shown(self, request_id: str, count: int = 1) -> list[Event]:
        """The first tokens of a request that is still being answered."""
        tokens: list[Event] = []
        async for event in self.broker.replies.read(TENANT, Level.EXTERNAL, request_id):
            tokens += [event] if event.name == "token" else []
            if len(tokens) == count:
                break
        return tokens


def text_of(events: list[Event]) -> str:
    return "".join(event.data["text"] for event in events if event.name == "token")


@asynccontextmanager
async def router(valkey: RedisServer, office: Office, **changes: Any) -> AsyncIterator[None]:
    """A router of the EXTERNAL lane with a model of each key that is given."""
    key_files = (Path("unused"),)
    settings = LlmRouterSettings(
        lane=Level.EXTERNAL, redis_url=SecretStr(valkey.url), external_key_file=key_files, **changes
    )
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(create_client(connect_seconds=2, read_seconds=20, trust_env=False))
        models, follow_up_model = create_models(settings, http)
        broker = Broker(settings, service="llm-router", verifier=office.verifier, keyring=office.keyring)
        app = create_app(settings, broker=broker, models=models, follow_up_model=follow_up_model)
        await stack.enter_async_context(app.router.lifespan_context(app))
        yield


@pytest.fixture
async def outside(valkey: RedisServer, office: Office) -> AsyncIterator[Outside]:
    async with provider_server() as providers:
        settings = CommonSettings(redis_url=SecretStr(valkey.url), port=0)
        broker = Broker(settings, service="outside", verifier=office.verifier, keyring=office.keyring)
        await broker.redis.flushall()
        outside = Outside(office, broker, providers)

        async def on_completed(message: AnswerCompleted, _: Delivery) -> None:
            outside.completed[message.request_id] = message

        async def on_asked(message: QuestionAsked, _: Delivery) -> None:
            outside.asked[message.request_id] = message

        broker.consume(AnswerCompleted, on_completed)
        broker.consume(QuestionAsked, on_asked, lane=Level.EXTERNAL)
        await broker.start()
        yield outside
        await broker.stop()


@pytest.fixture
def keys(outside: Outside) -> dict[str, Any]:
    """All three models, at the loopback provider."""
    return {
        "gemini_api_key": SecretStr("g"),
        "gemini_base_url": outside.providers.base_url,
        "azure_openai_api_key": SecretStr("a"),
        "azure_openai_endpoint": outside.providers.base_url,
    }


@pytest.fixture
async def running(
    outside: Outside, keys: dict[str, Any], valkey: RedisServer, office: Office
) -> AsyncIterator[Outside]:
    """A router with all tiers runs."""
    async with router(valkey, office, **keys):
        yield outside


@pytest.mark.parametrize(
    ("failing", "tier"),
    [((), PRO), ((PRO,), FLASH), ((PRO, FLASH), f"azure/{AZURE}"), ((PRO, FLASH, AZURE), "extractive")],
)
@pytest.mark.parametrize("behaviour", [fails(429, retry_after="60"), fails(503), EMPTY], ids=["429", "503", "empty"])
async def test_the_first_tier_that_works_answers_and_the_answer_says_which(
    running: Outside, failing: tuple[str, ...], tier: str, behaviour: Behaviour
) -> None:
    for model in failing:
        running.providers.behave(model, behaviour)
    request_id = await running.ground()
    answer = await running.answer(request_id)
    events = await running.events(request_id)
    assert (answer.tier, answer.finish_reason, answer.citations) == (tier, "stop", (1,))
    assert "Refunds for debit cards take 5 days. [1]" in answer.text
    assert (NO_MODEL in answer.text) is (tier == "extractive")
    assert text_of(events) == answer.text
    assert "restart" not in [event.name for event in events]


async def test_a_model_that_takes_too_long_is_passed_over(
    outside: Outside, keys: dict[str, Any], valkey: RedisServer, office: Office
) -> None:
    outside.providers.behave(PRO, Behaviour(before_headers=60))
    outside.providers.behave(FLASH, says("late", after=0, then="stall"))
    async with router(valkey, office, **keys, llm_first_token_seconds=0.3):
        answer = await outside.answer(await outside.ground())
    assert answer.tier == f"azure/{AZURE}"


@pytest.mark.parametrize("then", ["cut", "drop", "error", "stall"])
async def test_a_failure_after_the_first_text_restarts_and_the_whole_answer_follows(
    outside: Outside, keys: dict[str, Any], valkey: RedisServer, office: Office, then: str
) -> None:
    """A cut answer is never taken for a whole one."""
    outside.providers.behave(PRO, says("Half an answer ", "[2] and", then=then))
    async with router(valkey, office, **keys, llm_between_tokens_seconds=0.3):
        request_id = await outside.ground()
        answer = await outside.answer(request_id)
    events = await outside.events(request_id)
    restarts = [event for event in events if event.name == "restart"]
    assert [(event.data["attempt"], event.data["tier"]) for event in restarts] == [(2, FLASH)]
    before, after = events[: events.index(restarts[0])], events[events.index(restarts[0]) :]
    assert text_of(before).startswith("Half an answer")
    assert {event.data["attempt"] for event in before if event.name == "token"} == {1}
    assert {event.data["attempt"] for event in after if event.name == "token"} == {2}
    assert (answer.tier, answer.text, answer.citations) == (FLASH, text_of(after), (1,))


async def test_a_question_that_is_begun_again_replies_after_its_lost_run(running: Outside) -> None:
    """Whoever reads the reply gets a restart and then the whole answer, with no token of the lost run behind it."""
    lost = Event("token", {"text": "Lost", "attempt": 9})
    await running.broker.replies.writer(TENANT, Level.EXTERNAL, "begun-again", 5).append(lost)
    await running.ground(request_id="begun-again", run=2)
    answer = await running.answer("begun-again")
    first, restart, *others = await running.events("begun-again")
    assert (first.data["text"], restart.name) == ("Lost", "restart")
    assert text_of(others) == answer.text
    assert answer.run == 2


async def test_sources_come_first_then_the_stage_then_the_tokens(running: Outside) -> None:
    request_id = await running.ground()
    await running.answer(request_id)
    sources, stage, *tokens = await running.events(request_id)
    assert sources.name == "sources"
    assert sources.data["passages"][1] == {
        "n": 2,
        "document_id": "d",
        "title": "Refunds",
        "page": 2,
        "offset": 0,
        "access_level": "EXTERNAL",
        "score": 0.7,
        "text": "Chargebacks cost 15 euros.",
        "fix": False,
    }
    assert (stage.name, stage.data) == ("stage", {"name": "answering"})
    assert {token.name for token in tokens} == {"token"}


async def test_the_first_token_is_written_at_once_and_those_that_follow_in_batches(running: Outside) -> None:
    words = [f"word{n} " for n in range(200)]
    running.providers.behave(PRO, says(*words, between=0.001))
    request_id = await running.ground()
    answer = await running.answer(request_id)
    tokens = [event for event in await running.events(request_id) if event.name == "token"]
    assert answer.text == "".join(words)
    assert len(tokens) < len(words) / 3


async def test_the_first_token_is_there_while_the_model_is_still_writing(running: Outside) -> None:
    running.providers.behave(PRO, STALLS)
    request_id = await running.ground()
    (token,) = await running.shown(request_id)
    assert token.data == {"text": "Half an answer", "attempt": 1}
    await running.broker.replies.cancel(Level.EXTERNAL, request_id)


async def test_a_citation_of_a_passage_that_was_not_given_is_dropped(running: Outside) -> None:
    """case 37: also where it is split over tokens."""
    running.providers.behave(PRO, says("Five days ", "[", "7", "]", "[1", ", 2]."))
    request_id = await running.ground()
    answer = await running.answer(request_id)
    assert (answer.text, answer.citations) == ("Five days [1][2].", (1, 2))
    assert text_of(await running.events(request_id)) == answer.text


async def test_a_refusal_of_the_provider_is_the_answer(running: Outside) -> None:
    running.providers.behave(PRO, Behaviour(blocked=True))
    answer = await running.answer(await running.ground())
    assert (answer.tier, answer.finish_reason) == (PRO, "refused")
    assert not running.providers.calls_of(FLASH)


async def test_usage_is_told_as_the_provider_counts_it(running: Outside) -> None:
    running.providers.behave(PRO, says("a", "b", "c"))
    answer = await running.answer(await running.ground())
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (9, 3)


@pytest.mark.parametrize("behaviour", [STALLS, Behaviour(before_headers=60)], ids=["in the middle", "before any text"])
async def test_a_cancelled_question_closes_the_request_upstream_while_the_model_is_silent(
    running: Outside, behaviour: Behaviour
) -> None:
    running.providers.behave(PRO, behaviour)
    request_id = await running.ground()
    await running.providers.script.called(PRO)
    if behaviour is STALLS:
        await running.shown(request_id)
    cancelled = time.time()
    await running.broker.replies.cancel(Level.EXTERNAL, request_id)
    call = await running.providers.script.disconnected(PRO)
    answer = await running.answer(request_id)
    assert call.disconnected is not None
    assert call.disconnected - cancelled < 0.5  # noticed within 200 ms, closed within 100
    assert (answer.finish_reason, answer.text) == ("cancelled", "Half an answer" if behaviour is STALLS else "")
    assert not running.providers.calls_of(FLASH)


async def test_a_question_that_was_cancelled_before_is_taken_to_no_provider(running: Outside) -> None:
    await running.broker.replies.cancel(Level.EXTERNAL, "gone")
    answer = await running.answer(await running.ground(request_id="gone"))
    assert (answer.finish_reason, answer.text, answer.tier) == ("cancelled", "", "none")
    assert not running.providers.script.calls


async def test_a_request_that_has_ended_is_not_answered_again(running: Outside) -> None:
    await running.broker.replies.finish(TENANT, Level.EXTERNAL, "ended", Event("done"))
    await running.ground(request_id="ended")
    await running.answer(await running.ground())
    assert "ended" not in running.completed
    assert len(running.providers.script.calls) == 1


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"passages": (passage("Secret.", Level.INTERNAL),)}, 403),
        ({"passport_rights": frozenset({Right.UPLOAD})}, 403),
        ({"seconds": -1}, 504),
    ],
    ids=["a passage above the clearance", "no right to read", "too late"],
)
async def test_what_may_not_be_answered_ends_with_an_error_and_reaches_no_provider(
    running: Outside, changes: dict[str, Any], status: int
) -> None:
    request_id = await running.ground(**changes)
    terminal = await running.broker.replies.terminal(TENANT, Level.EXTERNAL, request_id)
    assert (terminal.name, terminal.data["status"]) == ("error", status)
    assert not running.providers.script.calls


async def test_a_request_that_a_provider_calls_wrong_ends_with_an_error_that_says_so(running: Outside) -> None:
    running.providers.behave(PRO, fails(400))
    terminal = await running.broker.replies.terminal(TENANT, Level.EXTERNAL, await running.ground())
    assert terminal.name == "error"
    assert "Gemini does not accept the request" in terminal.data["detail"]


async def follow(outside: Outside, question: str = FOLLOW_UP) -> QuestionAsked:
    message: Message = outside.office.message(QuestionFollowedUp, question=question, history=HISTORY)
    await outside.broker.publish(message)
    return await until(lambda: outside.asked.get(message.request_id), what="the question that stands alone")


async def test_a_follow_up_is_made_to_stand_alone_by_the_cheapest_model(running: Outside) -> None:
    running.providers.behave(FLASH, says("How long do ", "credit card refunds take?"))
    asked = await follow(running)
    assert (asked.question, asked.search_query) == (FOLLOW_UP, "How long do credit card refunds take?")
    assert asked.history == HISTORY
    assert not running.providers.calls_of(PRO)


@pytest.mark.parametrize("behaviour", [fails(429), STALLS, says("How", then="cut")], ids=["limited", "silent", "cut"])
async def test_where_the_model_does_not_help_the_rule_makes_it_stand_alone(
    outside: Outside, keys: dict[str, Any], valkey: RedisServer, office: Office, behaviour: Behaviour
) -> None:
    outside.providers.behave(FLASH, behaviour)
    async with router(valkey, office, **keys, follow_up_seconds=0.3):
        asked = await follow(outside)
    assert asked.search_query == "How long do refunds take for credit cards?"


async def test_without_any_key_a_follow_up_is_answered_from_the_passages(
    outside: Outside, valkey: RedisServer, office: Office
) -> None:
    async with router(valkey, office):
        asked = await follow(outside)
        answer = await outside.answer(
            await outside.ground(FOLLOW_UP, search_query=asked.search_query, history=asked.history)
        )
    assert answer.text.startswith("> Refunds for credit cards take 3 days. [1]")
