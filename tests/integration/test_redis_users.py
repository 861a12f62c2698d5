"""The users of Redis against a real Valkey and a real Redis: what each must be able to do, and what is refused."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from redis.exceptions import NoPermissionError, ResponseError

from sluice.access import Level
from sluice.acl import OPERATOR_USER, PRODUCER_USER, users
from sluice.connection import RedisClient
from sluice.deadletters import DeadLetters
from sluice.depths import Depths, Presence
from sluice.errors import PermanentError
from sluice.messages import QuestionAsked
from sluice.places import Places
from sluice.replies import Event, ReplyLog, SupersededError
from sluice.room import Room
from sluice.topology import FLOWS, GROUPS, PRODUCER
from sluice.workstream import Entry, Hold, Publication, WorkStream
from tests.conftest import needs
from tests.support.redis_users import GuardedRedis, guarded
from tests.support.servers import running

TENANT = "tenant-a"
NOW = timedelta()
LANED = ("ingest-worker", "retriever", "llm-router")
WORKERS = [f"{name}-{lane.lower()}" for name in LANED for lane in Level] + ["log-bridge"]
GATEWAY = "gateway"
OFFERED = "documents.offered.v1"
STREAM_COMMANDS = {
    "look": ("XRANGE {s} - +", "XREVRANGE {s} + -", "XREAD STREAMS {s} 0", "XINFO STREAM {s} FULL"),
    "take": ("XREADGROUP GROUP g c STREAMS {s} >", "XACK {s} g 1-0", "XDEL {s} 1-0", "XPENDING {s} g"),
    "steal": ("XCLAIM {s} g c 0 1-0", "XAUTOCLAIM {s} g c 0 0"),
    "put": ("XADD {s} * __data__ x",),
    "delayed": ("ZRANGEBYSCORE {{{s}}}:delayed 0 1",),
    "wait": ("ZRANGE {{{s}}}:delayed 0 -1", "ZADD {{{s}}}:delayed 1 x"),
    "dead": ("XRANGE {{{s}}}:dead - +", "XREVRANGE {{{s}}}:dead + -"),
    "bury": ("XADD {{{s}}}:dead * a b",),
    "places": ("HGETALL {{{s}}}:places", "HKEYS {{{s}}}:places"),
    "spoil": ("DEL {{{s}}}:dead", "SET {s} x", "RENAME {s} other", "DUMP {s}", "COPY {s} other", "XTRIM {s} MAXLEN 0"),
}
DANGEROUS = (
    "EVAL 'return_1' 0", "EVAL_RO 'return_1' 0", "FCALL f 0", "FUNCTION LIST", "SCRIPT FLUSH", "CONFIG GET *",
    "CONFIG SET maxmemory 1", "KEYS *", "SCAN 0", "RANDOMKEY", "FLUSHALL", "FLUSHDB", "SWAPDB 0 1", "DBSIZE",
    "ACL LIST", "ACL SETUSER x", "ACL LOAD", "ACL WHOAMI", "DEBUG OBJECT x", "MONITOR", "CLIENT LIST",
    "CLIENT KILL ID 1", "CLIENT PAUSE 1", "SHUTDOWN NOSAVE", "SAVE", "BGREWRITEAOF", "REPLICAOF a 1", "SYNC",
    "MODULE LIST", "MIGRATE h 1 k 0 1", "SORT x", "GET other", "SET other x", "PSUBSCRIBE *", "SUBSCRIBE other",
    "PUBLISH other x", "PUBSUB CHANNELS", "OBJECT ENCODING x", "MEMORY USAGE x", "SLOWLOG GET", "LATENCY LATEST",
)  # fmt: skip


@pytest.fixture(scope="module", params=["valkey", "redis"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedRedis]:
    made = guarded(tmp_path_factory.mktemp(request.param), request.param)
    needs("redis-server", made)
    assert made is not None
    with running(made):
        yield made


@pytest.fixture
async def clients(server: GuardedRedis) -> AsyncIterator[dict[str, RedisClient]]:
    """A connection of each user; at the end, all that was refused to them was meant to be."""
    server.forget()
    async with AsyncExitStack() as stack:
        yield {user: await stack.enter_async_context(server.as_user(user)) for user in users()}


def service_of(user: str) -> str:
    return PRODUCER if user == PRODUCER_USER else user.removesuffix("-external").removesuffix("-internal")


def lane_of(stream: str) -> str:
    end = stream.rpartition(".")[2]
    return end if end in ("external", "internal") else ""


def in_lane(user: str, stream: str) -> bool:
    """A stream without a lane is everybody's whom the table names."""
    return service_of(user) not in LANED or lane_of(stream) in ("", user.rpartition("-")[2])


def may(user: str, stream: str) -> set[str]:
    """By the table of streams and the rules in words, not by the rules that were made of it."""
    [flow] = [flow for flow in FLOWS if stream in flow.streams]
    rights: set[str] = set()
    if in_lane(user, stream) and service_of(user) in flow.senders:
        rights |= {"put"}
    if in_lane(user, stream) and service_of(user) == flow.receiver:
        rights |= {"put", "take", "delayed", "bury"}
    return rights | ({"put", "delayed"} if user == GATEWAY else set())


def partly(user: str, stream: str) -> set[str]:
    """Kinds of which some commands are allowed and others not: left to the tests of what must work."""
    [flow] = [flow for flow in FLOWS if stream in flow.streams]
    receives = in_lane(user, stream) and service_of(user) == flow.receiver
    return ({"look", "steal", "wait"} if receives else set()) | ({"look", "take", "dead"} if user == GATEWAY else set())


async def allowed(operator: RedisClient, user: str, commands: list[str]) -> list[str]:
    """As Redis itself decides, without doing them."""
    pipeline = operator.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command("ACL", "DRYRUN", user, *command.split())
    answers = await pipeline.execute()
    return [command for command, answer in zip(commands, answers, strict=True) if answer == b"OK"]


@pytest.mark.parametrize("user", [*WORKERS, GATEWAY, PRODUCER_USER])
async def test_a_user_may_do_with_each_stream_what_the_table_says_and_nothing_else(
    user: str, clients: dict[str, RedisClient]
) -> None:
    """case 44: of every stream there is, also of one that is new; an EXTERNAL user has none of INTERNAL."""
    for stream in GROUPS:
        told = {
            command.format(s=stream): kind in may(user, stream)
            for kind in set(STREAM_COMMANDS) - partly(user, stream)
            for command in STREAM_COMMANDS[kind]
        }
        expected = [command for command, right in told.items() if right]
        assert await allowed(clients[OPERATOR_USER], user, list(told)) == expected


@pytest.mark.parametrize("user", [*WORKERS, GATEWAY, PRODUCER_USER])
async def test_what_nobody_needs_is_refused_to_everybody(user: str, clients: dict[str, RedisClient]) -> None:
    """case 44: EVAL, CONFIG, KEYS, FLUSHALL and the like."""
    assert await allowed(clients[OPERATOR_USER], user, list(DANGEROUS)) == []


def test_every_user_is_looked_at() -> None:
    assert set(users()) == {*WORKERS, GATEWAY, PRODUCER_USER, OPERATOR_USER}


async def test_who_names_no_user_is_refused(server: GuardedRedis) -> None:
    client = server.as_user("nobody")
    with pytest.raises(Exception, match=r"(?i)invalid username-password|WRONGPASS"):
        await client.ping()
    await client.aclose()


@pytest.mark.parametrize("user", WORKERS)
async def test_a_script_of_ones_own_reads_no_more_than_its_caller_may(
    user: str, clients: dict[str, RedisClient]
) -> None:
    """case 44: a sender calls scripts on the streams that it sends to; one that reads them is refused inside."""
    sent = [stream for stream in GROUPS if may(user, stream) == {"put"}]
    assert sent
    for stream in sent:
        await clients[OPERATOR_USER].xadd(stream, {"__data__": "a secret"})
        sha = await clients[user].script_load("return redis.call('XRANGE', KEYS[1], '-', '+')")
        with pytest.raises(ResponseError, match=r"(?i)permission|can't access at least one of the keys"):
            await clients[user].evalsha(sha, 1, stream)


def senders_of(stream: str) -> list[str]:
    [flow] = [flow for flow in FLOWS if stream in flow.streams]
    known = [user for user in (*WORKERS, GATEWAY) if service_of(user) in flow.senders]
    return [user for user in known if in_lane(user, stream)]


def receiver_of(stream: str) -> str:
    [user] = [user for user in (*WORKERS, GATEWAY) if service_of(user) == GROUPS[stream] and in_lane(user, stream)]
    return user


async def read(client: Any, work: WorkStream) -> Entry:
    [[_, [(entry_id, fields)]]] = await client.xreadgroup(work.group, "c", {work.stream: ">"}, count=1)
    return Entry.parse(entry_id, fields)


@pytest.mark.parametrize("stream", list(GROUPS))
async def test_senders_put_and_the_receiver_does_all_that_a_consumer_does(
    stream: str, server: GuardedRedis, clients: dict[str, RedisClient]
) -> None:
    """case 44: with least rights nothing that is needed is refused."""
    receiver = clients[receiver_of(stream)]
    work = WorkStream(receiver, stream, group=GROUPS[stream], consumer="c", lease=NOW)
    assert await work.ensure_group()
    for number, user in enumerate(senders_of(stream) or [OPERATOR_USER]):
        publish = Publication(clients[user])
        assert await publish(stream, f"m-{number}", "{}")
        assert not await publish(stream, f"m-{number}", "{}"), "while it waits"
        entry = await read(receiver, work)
        assert await work.hold(entry, f"m-{number}") is Hold.HELD
        assert await work.delay(entry, NOW)
        assert not await publish(stream, f"m-{number}", "{}"), "while it is delayed"
        assert await work.wake() == 1
        assert await work.done(await read(receiver, work), f"m-{number}")
        assert not await publish(stream, f"m-{number}", "{}"), "after it is done"
        await publish(stream, f"d-{number}", "{}")
        assert await work.bury(await read(receiver, work), PermanentError("no"))
        assert not await publish(stream, f"d-{number}", "{}"), "while it is dead"
    await clients[OPERATOR_USER].xadd(stream, {"__data__": "{}"}, id="9999999999999-0")
    assert await work.mend()
    await read(receiver, work)
    assert await work.reap() == 1
    await read(receiver, work)
    assert await work.release() == 1
    assert await work.forget() == 0
    presence = Presence(receiver, "c", [stream])
    await presence.tell(timedelta(seconds=9))
    await presence.end()
    assert server.refusals() == []


@pytest.mark.parametrize("lane", list(Level))
async def test_workers_write_the_reply_logs_of_their_lane_and_of_no_other(
    lane: Level, server: GuardedRedis, clients: dict[str, RedisClient]
) -> None:
    """case 44: keys and channels alike; the gateway reads and ends them all."""
    gateway = ReplyLog(clients[GATEWAY], None)
    reading = gateway.read(TENANT, lane, "r-1")
    others = [user for user in WORKERS if user.endswith("al") and not user.endswith(lane.lower())]
    for attempt, user in enumerate(["retriever", "llm-router"], start=1):
        replies = ReplyLog(clients[f"{user}-{lane.lower()}"], None)
        await replies.writer(TENANT, lane, "r-1", attempt, sole=True).append(Event("token", {"text": user}))
        assert (await anext(reading)).data == {"text": user}
        assert not await replies.finished(lane, "r-1")
    assert await gateway.listened(lane, "r-1")
    await gateway.cancel(lane, "r-1")
    assert await gateway.cancelled(lane, "r-1")
    assert await gateway.fail(TENANT, lane, "r-1", PermanentError("no"))
    with pytest.raises(SupersededError):
        await (
            ReplyLog(clients[f"llm-router-{lane.lower()}"], None).writer(TENANT, lane, "r-1", 3).append(Event("token"))
        )
    await reading.aclose()
    await gateway.close()
    assert server.refusals() == []
    for user in others:
        with pytest.raises(NoPermissionError):
            await clients[user].xrange(f"reply:{{{lane.lower()}:r-1}}")
        with pytest.raises(NoPermissionError):
            await clients[user].publish(f"reply:{{{lane.lower()}:r-1}}", "x")
        with pytest.raises(ResponseError, match=r"(?i)permission"):
            await ReplyLog(clients[user], None).finish(TENANT, lane, "r-2", Event("done"))


async def test_the_gateway_sees_and_mends_every_stream(server: GuardedRedis, clients: dict[str, RedisClient]) -> None:
    """case 44: places, depths, dead letters and room for more are its own work."""
    gateway = clients[GATEWAY]
    letters, places = DeadLetters(gateway), Places(gateway)

    async def state_of(stream: str) -> str:
        found = await places.find(stream, "m-1")
        return found.state if found else "nowhere"

    for stream in GROUPS:
        work = WorkStream(clients[receiver_of(stream)], stream, group=GROUPS[stream], consumer="c", lease=NOW)
        await work.ensure_group()
        await Publication(clients[OPERATOR_USER])(stream, "m-1", "{}")
        assert await state_of(stream) == "waiting"
        await work.bury(await read(clients[receiver_of(stream)], work), PermanentError("no"))
        assert await state_of(stream) == "dead"
    assert await letters.counts() == dict.fromkeys(sorted(GROUPS), 1)
    for letter in await letters.page(list(GROUPS), 100):
        whole = await letters.get(letter.stream, letter.id)
        assert whole is not None
        assert await letters.put_back(whole)
    assert {depth.lag for depth in (await Depths(gateway, GROUPS)()).values()} == {1}
    assert await Room(gateway).standing(QuestionAsked, Level.EXTERNAL) == 1
    await Room(gateway).admit()
    await gateway.set("index-task:t-1", "{}", ex=9)
    assert await gateway.get("index-task:t-1") == b"{}"
    assert server.refusals() == []
