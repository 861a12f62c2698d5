"""Scripts that share round trips, on a real Valkey and a real Redis."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from redis.exceptions import ConnectionError as BrokerAwayError
from redis.exceptions import ResponseError

from sluice.roundtrips import RoundTrips
from tests.support.servers import RedisServer, running, valkey_server

APPEND = "return redis.call('RPUSH', KEYS[1], ARGV[1])"
FAIL = "return redis.error_reply('ERR refused')"


@pytest.fixture
async def client(any_redis: RedisServer) -> AsyncIterator[Any]:
    client = redis.asyncio.Redis.from_url(any_redis.url)
    await client.flushall()
    yield client
    await client.aclose()


async def test_calls_at_once_run_in_their_order_in_few_round_trips_and_each_gets_its_own_result(client: Any) -> None:
    trips, append = RoundTrips(client), client.register_script(APPEND)
    await trips.run(append, ["list"], "0")
    before = (await client.info("stats"))["total_net_input_bytes"]
    results = await asyncio.gather(*[trips.run(append, ["list"], str(number)) for number in range(1, 500)])
    after = (await client.info("stats"))["total_net_input_bytes"]
    assert results == list(range(2, 501))
    assert await client.lrange("list", 0, -1) == [str(number).encode() for number in range(500)]
    assert (after - before) / 499 < 120, "the script itself is not sent again"


async def test_a_server_that_forgot_the_script_is_told_it_again(client: Any) -> None:
    trips, append = RoundTrips(client), client.register_script(APPEND)
    await asyncio.gather(*[trips.run(append, ["list"], "x") for _ in range(3)])
    await client.script_flush()
    assert sorted(await asyncio.gather(*[trips.run(append, ["list"], "x") for _ in range(3)])) == [4, 5, 6]


async def test_an_error_is_its_callers_alone(client: Any) -> None:
    trips, append, fail = RoundTrips(client), client.register_script(APPEND), client.register_script(FAIL)
    calls = [trips.run(append, ["list"], "a"), trips.run(fail, ["list"]), trips.run(append, ["list"], "b")]
    first, second, third = await asyncio.gather(*calls, return_exceptions=True)
    assert (first, third) == (1, 2)
    assert isinstance(second, ResponseError)


async def test_a_caller_that_goes_away_disturbs_nobody(client: Any) -> None:
    trips, append = RoundTrips(client), client.register_script(APPEND)
    calls = [asyncio.create_task(trips.run(append, ["list"], str(number))) for number in range(3)]
    await asyncio.sleep(0)
    calls[1].cancel()
    assert await calls[0] == 1
    assert await calls[2] == 3
    assert await trips.run(append, ["list"], "after") == 4


async def test_all_callers_are_told_when_the_broker_is_away_and_the_next_ones_are_served_again(
    tmp_path: Path,
) -> None:
    server = valkey_server(tmp_path)
    client: Any = redis.asyncio.Redis.from_url(server.url)
    trips, append = RoundTrips(client), client.register_script(APPEND)
    calls = [trips.run(append, ["list"], "x") for _ in range(2)]
    assert {type(result) for result in await asyncio.gather(*calls, return_exceptions=True)} == {BrokerAwayError}
    with running(server):
        assert await trips.run(append, ["list"], "x") == 1
        await client.aclose()
