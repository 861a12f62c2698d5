"""The API as its OpenAPI document says it is, called with all that may be sent, and breaking at none of it."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from sluice.access import Level, Right
from sluice.messages import LogsSearched, Message, QuestionAsked, QuestionFollowedUp
from sluice.replies import Event
from tests.support.gateway import OPERATOR_TOKEN, RunningGateway, Workers

LONG = "SLUICE_CHAOS_LONG" in os.environ
EXAMPLES = 40 if LONG else 2
SIGNS_OUT = "/api/v1/auth/logout"


@asynccontextmanager
async def answering(workers: Workers) -> AsyncGenerator[None]:
    """Whatever is asked has an answer, so that nothing waits for one."""

    async def forever(kind: type[Any], lane: Level, answer: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
        while True:
            await answer(await workers.next(kind, lane))

    async def found_nothing(search: LogsSearched) -> None:
        result = Event("result", {"total": 0, "took_ms": 1, "hits": [], "warnings": []})
        await workers.broker.plain_replies.finish(search.tenant, Level.INTERNAL, search.request_id, result)

    kinds: list[tuple[type[Message], Level, Any]] = [(LogsSearched, Level.INTERNAL, found_nothing)]
    kinds += [(kind, lane, workers.answer) for kind in (QuestionAsked, QuestionFollowedUp) for lane in Level]
    tasks = [asyncio.create_task(forever(*kind)) for kind in kinds]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


async def roles(gateway: RunningGateway) -> dict[str, dict[str, str]]:
    """The headers that each role signs its requests with."""
    rights = sorted(set(Right) - {Right.OPERATOR})
    internal = await gateway.person("walker@razorpay.com", *rights)
    external = await gateway.person("walker@example.com", *rights)
    key = {"name": "walker", "rights": ["read", "upload"], "clearance": "EXTERNAL"}
    made = (await internal.post("/api/v1/keys", json=key)).json()["key"]
    return {
        "nobody": {},
        "EXTERNAL": {"Authorization": external.headers["Authorization"]},
        "INTERNAL": {"Authorization": internal.headers["Authorization"]},
        "API key": {"Authorization": f"Bearer {made}"},
        "operator": {"Authorization": f"Bearer {OPERATOR_TOKEN}"},
    }


def walk(url: str, document: dict[str, Any], headers_of: Mapping[str, dict[str, str]]) -> set[str]:
    """Calls every operation as each role; gives those that were called."""
    schema, called = schemathesis.openapi.from_dict(document), set[str]()
    operations = [found.ok() for found in schema.get_all_operations()]
    with requests.Session() as session:
        session.trust_env = False
        for operation in sorted(operations, key=lambda operation: operation.path == SIGNS_OUT):

            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                derandomize=not LONG,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy())
            def call(case: schemathesis.Case) -> None:
                for role, headers in headers_of.items():
                    answer = case.call(base_url=url, session=session, headers=headers, timeout=60)
                    broke = f"{case.method} {case.path} as {role}: {answer.status_code} {answer.text}"
                    assert answer.status_code < 500, broke
                called.add(f"{case.method.lower()} {case.path}")

            call()
    return called


async def test_nothing_that_the_document_allows_breaks_the_gateway(gateway: RunningGateway, workers: Workers) -> None:
    """No 5xx, signed in as each role."""
    async with httpx2.AsyncClient(base_url=gateway.url, trust_env=False) as client:
        document = (await client.get("/openapi.json")).json()
    headers_of = await roles(gateway)
    async with answering(workers):
        called = await asyncio.to_thread(walk, gateway.url, document, headers_of)
    assert called == {f"{method} {path}" for path, methods in document["paths"].items() for method in methods}
