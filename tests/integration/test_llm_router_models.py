"""The adapters of Gemini and Azure OpenAI, through the vendors' own SDKs, against the loopback provider."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import timedelta

import httpx2
import pytest

from llm_router.adapters.azure_openai import AzureOpenAI, create_azure_client
from llm_router.adapters.gemini import Gemini, create_gemini_client
from llm_router.adapters.http import create_client
from llm_router.ports import Failure, Final, Model, Piece, Prompt, Text, TierUnavailableError
from sluice.errors import PermanentError
from sluice.messages import Turn, Usage
from tests.providers import Behaviour, Providers, fails, provider_server, says
from tests.support.ports import free_port

PROMPT = Prompt(
    system="Be brief.",
    user="What now?",
    max_output_tokens=99,
    turns=(Turn(question="Who?", answer="We."),),
)
MakeModel = Callable[[str], Model]


@pytest.fixture
async def providers() -> AsyncIterator[Providers]:
    async with provider_server() as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with create_client(connect_seconds=5, read_seconds=20, trust_env=False) as client:
        yield client


@pytest.fixture(params=["gemini", "azure"])
def make_model(request: pytest.FixtureRequest, http: httpx2.AsyncClient) -> MakeModel:
    """A model called `m` of either vendor, at an address."""

    def gemini(address: str) -> Model:
        return Gemini(create_gemini_client("key", http, address), "m")

    def azure(address: str) -> Model:
        return AzureOpenAI(create_azure_client("key", address, "2024-10-21", http), "m")

    return gemini if request.param == "gemini" else azure


@pytest.fixture
def model(make_model: MakeModel, providers: Providers) -> Model:
    return make_model(providers.base_url)


async def read(model: Model) -> list[Piece]:
    async with aclosing(model.stream(PROMPT)) as pieces:
        return [piece async for piece in pieces]


async def failure(model: Model) -> TierUnavailableError:
    with pytest.raises(TierUnavailableError) as caught:
        await read(model)
    return caught.value


async def test_the_answer_comes_piece_by_piece_with_its_reason_to_end_and_its_usage(
    providers: Providers, model: Model
) -> None:
    providers.behave("m", says("One ", "two ", "three."))
    expected = [Text("One "), Text("two "), Text("three."), Final("stop", Usage(input_tokens=9, output_tokens=3))]
    assert await read(model) == expected


async def test_the_first_piece_is_there_before_the_last_is_written(providers: Providers, model: Model) -> None:
    providers.behave("m", says("One", after=1, then="stall"))
    async with asyncio.timeout(5), aclosing(model.stream(PROMPT)) as pieces:
        assert await anext(pieces) == Text("One")


async def test_rules_turns_and_question_reach_the_provider(providers: Providers, model: Model) -> None:
    await read(model)
    body = str(providers.calls_of("m")[0].body)
    positions = [body.index(text) for text in ("Who?", "We.", "What now?")]
    assert positions == sorted(positions)
    assert "Be brief." in body
    assert "99" in body


@pytest.mark.parametrize(("told", "reason"), [("stop", "stop"), ("length", "length"), ("refused", "refused")])
async def test_a_providers_reason_to_end_is_told(providers: Providers, model: Model, told: str, reason: str) -> None:
    providers.behave("m", says("One", finish_reason=told))
    final = (await read(model))[-1]
    assert isinstance(final, Final)
    assert final.finish_reason == reason


async def test_a_prompt_that_the_provider_blocks_is_an_answer_not_a_failure(providers: Providers, model: Model) -> None:
    providers.behave("m", Behaviour(blocked=True))
    (final,) = await read(model)
    assert isinstance(final, Final)
    assert final.finish_reason == "refused"


async def test_a_stream_without_a_reason_to_end_has_no_final(providers: Providers, model: Model) -> None:
    """Both SDKs end such a stream without an error: the chain sees by the missing Final that it was cut."""
    providers.behave("m", says("One ", "two", then="cut"))
    assert await read(model) == [Text("One "), Text("two")]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, Failure.AUTHENTICATION),
        (403, Failure.AUTHENTICATION),
        (404, Failure.NOT_FOUND),
        (429, Failure.RATE_LIMITED),
        (500, Failure.SERVER_ERROR),
        (503, Failure.SERVER_ERROR),
    ],
)
async def test_a_status_is_told_as_a_failure_after_one_attempt(
    providers: Providers, model: Model, status: int, reason: Failure
) -> None:
    providers.behave("m", fails(status))
    assert (await failure(model)).reason is reason
    assert len(providers.calls_of("m")) == 1


async def test_the_providers_retry_after_is_kept(providers: Providers, model: Model) -> None:
    providers.behave("m", fails(429, retry_after="7"))
    assert (await failure(model)).retry_after == timedelta(seconds=7)


async def test_geminis_retry_delay_in_the_body_is_kept(providers: Providers, http: httpx2.AsyncClient) -> None:
    providers.behave("m", fails(429))
    model = Gemini(create_gemini_client("key", http, providers.base_url), "m")
    assert (await failure(model)).retry_after == timedelta(seconds=17)


async def test_geminis_400_for_a_wrong_key_is_a_matter_of_authentication(
    providers: Providers, http: httpx2.AsyncClient
) -> None:
    providers.behave("m", fails(400, reason="API_KEY_INVALID"))
    model = Gemini(create_gemini_client("wrong", http, providers.base_url), "m")
    assert (await failure(model)).reason is Failure.AUTHENTICATION


async def test_a_request_that_the_provider_calls_wrong_is_no_reason_to_ask_another(
    providers: Providers, model: Model
) -> None:
    providers.behave("m", fails(400))
    with pytest.raises(PermanentError, match="does not accept the request: 400"):
        await read(model)


@pytest.mark.parametrize(
    ("then", "reasons"),
    [
        ("drop", {Failure.CONNECTION}),
        ("error", {Failure.SERVER_ERROR}),
        ("bare-error", {Failure.BAD_RESPONSE, Failure.SERVER_ERROR}),
        ("garbage", {Failure.BAD_RESPONSE}),
    ],
)
async def test_what_breaks_a_stream_is_a_failure(
    providers: Providers, model: Model, then: str, reasons: set[Failure]
) -> None:
    providers.behave("m", says("One ", "two", then=then))
    assert (await failure(model)).reason in reasons


async def test_a_reason_to_end_that_is_no_answer_is_a_failure(providers: Providers, model: Model) -> None:
    providers.behave("m", says("One", finish_reason="other"))
    assert (await failure(model)).reason is Failure.BAD_RESPONSE


async def test_nobody_listening_is_a_failed_connection(make_model: MakeModel) -> None:
    assert (await failure(make_model(f"http://127.0.0.1:{free_port()}"))).reason is Failure.CONNECTION


async def test_silence_ends_with_the_clients_own_limit(providers: Providers) -> None:
    """The limits hold although google-genai sets none and openai sets ten minutes."""
    providers.behave("slow", Behaviour(before_headers=30))
    async with create_client(connect_seconds=5, read_seconds=0.2, trust_env=False) as http:
        gemini = Gemini(create_gemini_client("key", http, providers.base_url), "slow")
        azure = AzureOpenAI(create_azure_client("key", providers.base_url, "2024-10-21", http), "slow")
        assert (await failure(gemini)).reason is Failure.TIMEOUT
        assert (await failure(azure)).reason is Failure.TIMEOUT


async def test_a_full_pool_is_not_the_providers_fault(providers: Providers) -> None:
    providers.behave("m", says("One", after=1, then="stall"))
    async with create_client(connect_seconds=0.2, read_seconds=20, trust_env=False, connections=1) as http:
        model = Gemini(create_gemini_client("key", http, providers.base_url), "m")
        async with aclosing(model.stream(PROMPT)) as pieces:
            assert await anext(pieces) == Text("One")
            assert (await failure(model)).reason is Failure.SATURATED


async def test_closing_the_stream_closes_the_request_upstream(providers: Providers, model: Model) -> None:
    providers.behave("m", says("One", after=1, then="stall"))
    async with aclosing(model.stream(PROMPT)) as pieces:
        assert await anext(pieces) == Text("One")
        closed = time.time()
    call = await providers.script.disconnected("m")
    assert call.disconnected is not None
    assert call.disconnected - closed < 0.1


@pytest.mark.parametrize("behaviour", [Behaviour(before_headers=30), says("One", after=0, then="stall")])
async def test_cancelling_the_reader_closes_the_request_upstream(
    providers: Providers, model: Model, behaviour: Behaviour
) -> None:
    """Before the headers as well as in the middle of the stream."""
    providers.behave("m", behaviour)
    reading = asyncio.create_task(read(model))
    await providers.script.called("m")
    cancelled = time.time()
    reading.cancel()
    call = await providers.script.disconnected("m")
    assert call.disconnected is not None
    assert call.disconnected - cancelled < 0.1


@pytest.mark.parametrize(("tokens", "sent"), [(0, {"thinking_budget": 0}), (None, None)])
async def test_geminis_thinking_is_bounded_where_it_is_told(
    providers: Providers, http: httpx2.AsyncClient, tokens: int | None, sent: object
) -> None:
    await read(Gemini(create_gemini_client("key", http, providers.base_url), "m", thinking_tokens=tokens))
    assert providers.calls_of("m")[0].body["generationConfig"].get("thinkingConfig") == sent


async def test_gemini_speaks_through_the_client_it_was_given(providers: Providers, http: httpx2.AsyncClient) -> None:
    """google-genai prefers aiohttp where it is installed, and then none of our limits and closings would hold."""
    seen: list[httpx2.URL] = []

    async def see(request: httpx2.Request) -> None:
        seen.append(request.url)

    http.event_hooks["request"].append(see)
    await read(Gemini(create_gemini_client("key", http, providers.base_url), "m"))
    assert [url.path for url in seen] == ["/v1beta/models/m:streamGenerateContent"]
