"""What /metrics tells of the streams, and the table of all metrics in the documentation."""

import asyncio
import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from sluice.access import Level
from sluice.broker import Broker, Delivery
from sluice.depths import Depths, Presence
from sluice.errors import PermanentError, TransientError
from sluice.messages import QuestionAsked
from sluice.settings import CommonSettings
from sluice.topology import GROUPS
from tests.support.gateway import RunningGateway, gateway_settings, running_gateway
from tests.support.identity import Office
from tests.support.servers import RedisServer, running, valkey_server
from tests.support.waiting import until

STREAM = "questions.asked.v1.external"
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
Figures = dict[tuple[str, str], float]


def figures(text: str) -> Figures:
    """By the sample's name and its stream."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, sample.labels.get("stream", "")): sample.value for sample in samples}


async def metrics(gateway: RunningGateway) -> Figures:
    async with gateway.client() as client:
        return figures((await client.get("/metrics")).text)


def retriever(server: RedisServer, office: Office, handler: Any, **options: Any) -> Broker:
    settings = CommonSettings(redis_url=server.url, port=0, lease_seconds=1, **options)
    broker = Broker(settings, service="retriever", verifier=office.verifier, keyring=office.keyring)
    if handler is not None:
        broker.consume(QuestionAsked, handler, lane=Level.EXTERNAL)
    return broker


def question(office: Office, text: str = "q") -> QuestionAsked:
    return office.message(QuestionAsked, question=text, search_query=text)


async def test_the_gateway_tells_of_every_stream_while_nobody_reads_it(
    gateway: RunningGateway, empty_valkey: RedisServer, office: Office
) -> None:
    publisher = retriever(empty_valkey, office, None)
    for _ in range(3):
        await publisher.publish(question(office))
    await publisher.stop()
    await until(lambda: _with(gateway, "sluice_stream_consumers", 1, "answers.completed.v1"))
    found = await until(lambda: _with(gateway, "sluice_stream_lag", 3))
    assert {stream for name, stream in found if name == "sluice_stream_lag"} == set(GROUPS)
    assert {name for name, stream in found if stream == STREAM and name.startswith("sluice_stream")} == {
        "sluice_stream_lag",
        "sluice_stream_pending",
        "sluice_stream_oldest_seconds",
        "sluice_stream_delayed",
        "sluice_stream_dead_letters",
        "sluice_stream_consumers",
    }
    assert found["sluice_stream_oldest_seconds", STREAM] > 0
    assert found["sluice_stream_consumers", STREAM] == 0
    assert found["sluice_broker_up", ""] == 1


async def _with(gateway: RunningGateway, name: str, value: float, stream: str = STREAM) -> Figures | None:
    found = await metrics(gateway)
    return found if found[name, stream] == value else None


async def test_each_message_is_counted_where_it_stands(any_redis: RedisServer, office: Office) -> None:
    broker = retriever(any_redis, office, None)
    await broker.redis.flushall()
    depths = Depths(broker.redis, GROUPS)
    assert {(depth.lag, depth.pending, depth.dead) for depth in (await depths()).values()} == {(0, 0, 0)}
    await broker.redis.xgroup_create(STREAM, "retriever", id="0", mkstream=True)
    for _ in range(5):
        await broker.publish(question(office))
    await broker.redis.xreadgroup("retriever", "c", {STREAM: ">"}, count=2)
    await broker.redis.zadd(f"{{{STREAM}}}:delayed", {"m": 1})
    await broker.redis.xadd(f"{{{STREAM}}}:dead", {"a": "1"})
    depth = (await depths())[STREAM]
    assert (depth.lag, depth.pending, depth.delayed, depth.dead, depth.consumers) == (3, 2, 1, 1, 0)
    hour_ago = int(time.time() * 1000) - 3_600_000
    await broker.redis.flushall()
    await broker.redis.xadd(STREAM, {"__data__": "{}", "queued": hour_ago})
    assert 3_600 <= (await depths())[STREAM].age.total_seconds() < 3_660
    await broker.stop()


async def test_a_consumer_that_says_nothing_any_more_is_not_counted(any_redis: RedisServer, office: Office) -> None:
    broker = retriever(any_redis, office, None)
    await broker.redis.flushall()
    depths = Depths(broker.redis, GROUPS)
    alive, dying = (Presence(broker.redis, name, [STREAM]) for name in ("alive", "dying"))
    await alive.tell(timedelta(seconds=60))
    await dying.tell(timedelta(seconds=1))
    assert (await depths())[STREAM].consumers == 2
    await until(lambda: _consumers(depths, 1))
    await alive.end()
    assert (await depths())[STREAM].consumers == 0
    await broker.stop()


async def _consumers(depths: Depths, number: int) -> bool:
    return (await depths())[STREAM].consumers == number


async def test_what_becomes_of_each_message_is_counted(any_redis: RedisServer, office: Office) -> None:
    async def handler(message: QuestionAsked, delivery: Delivery) -> None:
        if message.question == "again" and delivery.attempt == 1:
            raise TransientError("not yet")
        if message.question == "never":
            raise PermanentError("no")

    broker = retriever(any_redis, office, handler, retry={"first_seconds": 0.01})
    await broker.redis.flushall()
    before = counted(generate_latest().decode())
    await broker.start()
    fine = question(office, "fine")
    for message in (fine, question(office, "again"), question(office, "never")):
        await broker.publish(message)
    await until(lambda: risen(before).get("done") == 2)
    await broker.redis.xadd(STREAM, {"__data__": office.body(fine)})
    await until(lambda: risen(before).get("duplicate") == 1)
    await until(lambda: risen(before).get("dead") == 1)
    await broker.stop()
    assert risen(before) == {
        "sluice_published_total": 3,
        "sluice_deliveries_total": 5,
        "sluice_redeliveries_total": 1,
        "sluice_handler_seconds_count": 4,
        "done": 2,
        "delayed": 1,
        "dead": 1,
        "duplicate": 1,
        "PermanentError": 1,
    }


def counted(text: str) -> dict[str, float]:
    """By the outcome, the class, or the name, of the one stream."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        sample.labels.get("outcome") or sample.labels.get("class") or sample.name: sample.value
        for sample in samples
        if sample.labels.get("stream") == STREAM and sample.name.endswith(("_total", "_count"))
    }


def risen(before: dict[str, float]) -> dict[str, float]:
    now = counted(generate_latest().decode())
    return {key: value - before.get(key, 0) for key, value in now.items() if value != before.get(key, 0)}


async def test_a_broker_that_is_away_is_told_and_no_figure_is_an_old_one(tmp_path: Path, office: Office) -> None:
    with running(valkey_server(tmp_path)) as valkey:
        async with running_gateway(gateway_settings(tmp_path, valkey.url), office) as gateway:
            assert (await metrics(gateway))["sluice_stream_lag", STREAM] == 0
            valkey.kill()
            found = await until(lambda: _up(gateway, 0))
            assert not [stream for name, stream in found if name == "sluice_stream_lag"]
            started = time.monotonic()
            await metrics(gateway)
            assert time.monotonic() - started < 4
            valkey.start()
            found = await until(lambda: _up(gateway, 1))
            assert found["sluice_stream_lag", STREAM] == 0


async def _up(gateway: RunningGateway, value: float) -> Figures | None:
    found = await metrics(gateway)
    return found if found["sluice_broker_up", ""] == value else None


async def test_many_who_ask_at_once_cost_one_look(gateway: RunningGateway) -> None:
    client = gateway.adapters.broker.redis
    await metrics(gateway)
    calls, begun = await _evalsha_calls(client), time.monotonic()
    await asyncio.gather(*(metrics(gateway) for _ in range(15)))
    looks = (await _evalsha_calls(client) - calls) / len(GROUPS)
    assert looks < time.monotonic() - begun + 4  # the gateway's own scripts count for less than 3


async def _evalsha_calls(client: Any) -> int:
    stats = await client.info("commandstats")
    return stats["cmdstat_evalsha"]["calls"]


@pytest.fixture
def table() -> dict[str, str]:
    """Type by name, as docs/operations.md has them."""
    return dict(re.findall(r"^\| `(sluice_\w+)`[^|]* \| (\w+) \|", OPERATIONS.read_text(), re.M))


async def test_the_documentation_lists_every_metric_and_no_other(
    gateway: RunningGateway, table: dict[str, str]
) -> None:
    import ingest_worker.app
    import llm_router.app
    import log_bridge.app
    import retriever.app

    assert all((ingest_worker.app, llm_router.app, log_bridge.app, retriever.app))
    async with gateway.client() as client:
        text = (await client.get("/metrics")).text
    told = dict(re.findall(r"^# TYPE (sluice_\w+) (\w+)$", text, re.M))
    assert {name: kind for name, kind in told.items() if not name.endswith("_created")} == table


def test_the_alert_rules_rest_on_metrics_that_there_are(table: dict[str, str]) -> None:
    [group] = yaml.safe_load((OPERATIONS.parent / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]:
        assert rule["alert"]
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"]
        assert set(re.findall(r"sluice_\w+", rule["expr"])) <= set(table)
    watched = {name for rule in group["rules"] for name in re.findall(r"sluice_\w+", rule["expr"])}
    assert watched >= {
        "sluice_broker_up",
        "sluice_stream_consumers",
        "sluice_stream_oldest_seconds",
        "sluice_stream_dead_letters",
    }
