"""Messages a second and round trips through `Broker.consume`, beside plain FastStream and plain redis-py.

One consuming process each, on one Valkey (append-only, fsync always), in rounds that take turns.
"""

import argparse
import asyncio
import tempfile
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from benchmarks.consuming import Child
from benchmarks.contenders import GROUP, Contender, contenders, stream_of
from benchmarks.figures import figure, finish, percentile, summary
from sluice.messages import QuestionAsked
from tests.support.identity import Office
from tests.support.servers import running, valkey_server

GOAL = 0.8


def question(office: Office, number: int) -> QuestionAsked:
    text = f"How long do customers of the northern region have to return a parcel? ({number})"
    return office.message(QuestionAsked, question=text, search_query=text, seconds=3600)


async def fill(redis: Any, contender: Contender, messages: list[QuestionAsked]) -> None:
    """Puts them on the contender's empty stream before its consumer runs."""
    await redis.flushall()
    await redis.xgroup_create(stream_of(contender.name), GROUP, id="0", mkstream=True)
    if contender.name == "sluice":  # its publications note the message's place, which is taken away when it is done
        for start in range(0, len(messages), 50):
            await asyncio.gather(*[contender.publish(message) for message in messages[start : start + 50]])
        return
    pipeline = redis.pipeline(transaction=False)
    for message in messages:
        pipeline.xadd(stream_of(contender.name), {"__data__": message.model_dump_json()})
    await pipeline.execute()


async def throughput(redis: Any, contender: Contender, child: Child, messages: list[QuestionAsked]) -> dict[str, float]:
    await fill(redis, contender, messages)
    figures = await child.drain(len(messages))
    left = await redis.xpending(stream_of(contender.name), GROUP)
    assert left["pending"] == 0, f"{contender.name} left {left['pending']} messages unacknowledged"
    return figures


async def round_trips(redis: Any, contender: Contender, child: Child, messages: list[QuestionAsked]) -> list[float]:
    """Milliseconds from publishing to the reply of the handler, one message at a time."""
    await fill(redis, contender, [])
    await child.listen()
    taken: list[float] = []
    for message in messages:
        begun = time.perf_counter()
        await contender.publish(message)
        assert await redis.blpop([f"reply:{message.request_id}"], timeout=10), "no reply in 10 s"
        taken.append((time.perf_counter() - begun) * 1000)
    await child.rest()
    return taken


async def measure(url: str, rounds: int, count: int, trips: int) -> dict[str, Any]:
    office, redis = Office(), Redis.from_url(url)
    everyone = contenders(url, office.public_key, office.keys_folder)
    start = partial(Child.start, url=url, public_key=office.public_key, keys=office.keys_folder)
    children = {each.name: await start(each.name) for each in everyone}
    drains: dict[str, list[dict[str, float]]] = defaultdict(list)
    replies: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds + 1):  # the first is for warming up
        messages = [question(office, index) for index in range(count)]
        for each in everyone[number % 3 :] + everyone[: number % 3]:
            drained = await throughput(redis, each, children[each.name], messages)
            trip = await round_trips(redis, each, children[each.name], [question(office, i) for i in range(trips)])
            if number:
                drains[each.name].append(drained)
                replies[each.name] += trip
                print(f"round {number} {each.name:<10} {drained['rate']:8.0f}/s", flush=True)
    for each in everyone:
        await children[each.name].stop()
        await each.close()
    await redis.aclose()
    return {each.name: told(drains[each.name], replies[each.name]) for each in everyone}


def told(drains: list[dict[str, float]], replies: list[float]) -> dict[str, Any]:
    ordered = sorted(replies)
    return {
        "messages_per_s": summary([drain["rate"] for drain in drains]),
        "cpu_us_per_message": summary([drain["cpu_us"] for drain in drains]),
        "round_trip_ms": {"p50": figure(percentile(ordered, 0.5)), "p95": figure(percentile(ordered, 0.95))},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--trips", type=int, default=200)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(valkey_server(Path(folder))) as server:
        figures = asyncio.run(measure(server.url, asked.rounds, asked.messages, asked.trips))
    for name, each in figures.items():
        rate, trip = each["messages_per_s"], each["round_trip_ms"]
        print(
            f"{name:<10} {rate['median']:8.0f}/s ({rate['least']:.0f}-{rate['greatest']:.0f})"
            f"  {each['cpu_us_per_message']['median']:6.0f} us CPU each"
            f"  round trip p50 {trip['p50']:.2f} ms, p95 {trip['p95']:.2f} ms"
        )
    ratio = figures["sluice"]["messages_per_s"]["median"] / figures["faststream"]["messages_per_s"]["median"]
    finish("consume", {**figures, "of_faststream": figure(ratio), "goal": GOAL, "met": ratio >= GOAL})


if __name__ == "__main__":
    main()
