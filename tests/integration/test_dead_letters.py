"""The dead letters as an operator's tools see them, on a real Valkey and a real Redis."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from sluice.deadletters import LARGEST_LISTED, STREAMS, DeadLetter, DeadLetters
from sluice.errors import PermanentError
from sluice.messages import DocumentOffered, DocumentSubmitted
from sluice.places import Places
from sluice.workstream import Entry, Keys, Publication, WorkStream
from tests.support.servers import RedisServer, running, valkey_server
from tests.support.waiting import until

UPLOADS = "documents.submitted.v1.external"
OFFERS = "documents.offered.v1"


@pytest.fixture
async def client(any_redis: RedisServer) -> AsyncIterator[Any]:
    client = redis.asyncio.Redis.from_url(any_redis.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def letters(client: Any) -> DeadLetters:
    return DeadLetters(client)


def work(client: Any, stream: str) -> WorkStream:
    return WorkStream(client, stream, group="worker", consumer="worker-1", lease=timedelta(seconds=5))


async def take(client: Any, stream: str) -> Entry:
    """The next entry of the stream, as a worker gets it."""
    await work(client, stream).ensure_group()
    [(_, [(entry_id, fields)])] = await client.xreadgroup("worker", "worker-1", {stream: ">"}, count=1)
    return Entry.parse(entry_id, fields)


async def bury(client: Any, stream: str, message_id: str, body: str, reason: str = "it cannot be read") -> None:
    await Publication(client)(stream, message_id, body)
    assert await work(client, stream).bury(await take(client, stream), PermanentError(reason))


async def only(letters: DeadLetters, stream: str) -> DeadLetter:
    [letter] = await letters.page([stream], 10)
    return letter


def test_every_stream_that_a_message_may_stand_on_is_looked_at() -> None:
    assert {*DocumentSubmitted.streams(), DocumentOffered.stream} < set(STREAMS)
    assert len(set(STREAMS)) == len(STREAMS)


async def test_streams_with_dead_letters_are_counted(client: Any, letters: DeadLetters) -> None:
    assert await letters.counts() == {}
    await bury(client, UPLOADS, "m1", "{}")
    await bury(client, UPLOADS, "m2", "{}")
    await bury(client, OFFERS, "m3", "{}")
    assert await letters.counts() == {UPLOADS: 2, OFFERS: 1}


async def test_a_letter_tells_why_by_whom_and_when_and_has_its_bytes_as_they_were(
    client: Any, letters: DeadLetters
) -> None:
    await bury(client, UPLOADS, "m1", '{"a": "Zoë"}')
    letter = await only(letters, UPLOADS)
    assert (letter.error, letter.error_class, letter.detail) == (
        "cannot-be-done",
        "PermanentError",
        "it cannot be read",
    )
    assert (letter.attempts, letter.worker, letter.message_id) == (1, "worker-1", "m1")
    assert abs(datetime.now(UTC) - letter.died_at) < timedelta(seconds=20)
    assert letter.body == '{"a": "Zoë"}'.encode()
    assert letter.size == len(letter.body)
    assert await letters.get(UPLOADS, letter.id) == letter


async def test_letters_of_all_streams_are_paged_newest_first_each_once(client: Any, letters: DeadLetters) -> None:
    for number in range(7):
        await bury(client, OFFERS if number % 3 == 0 else UPLOADS, f"m{number}", "{}")
    seen: list[str] = []
    before = None
    while page := await letters.page([UPLOADS, OFFERS], 2, before):
        assert len(page) <= 2
        seen += [letter.message_id for letter in page]
        before = page[-1].place
    assert sorted(seen) == [f"m{number}" for number in range(7)]
    places = [letter.place for letter in await letters.page([UPLOADS, OFFERS], 100)]
    assert places == sorted(places, reverse=True)
    first, second, third = await letters.page([OFFERS], 100)
    assert [letter.message_id for letter in (first, second, third)] == ["m6", "m3", "m0"]
    assert await letters.page([OFFERS], 1, first.place) == [second]
    assert await letters.page([OFFERS], 2, first.place) == [second, third]


async def test_letters_that_died_in_the_same_moment_are_each_listed(client: Any, letters: DeadLetters) -> None:
    """Their ids are equal then, and a page may end between them."""
    for stream in (UPLOADS, OFFERS):
        await client.xadd(Keys(stream).dead, {"__data__": "{}", "id": stream}, id="1700000000000-0")
    [first] = await letters.page([UPLOADS, OFFERS], 1)
    [second] = await letters.page([UPLOADS, OFFERS], 1, first.place)
    assert {first.message_id, second.message_id} == {UPLOADS, OFFERS}
    assert await letters.page([UPLOADS, OFFERS], 1, second.place) == []


async def test_a_list_leaves_large_bytes_out_and_tells_their_size(client: Any, letters: DeadLetters) -> None:
    await bury(client, OFFERS, "m1", "x" * (LARGEST_LISTED + 1))
    letter = await only(letters, OFFERS)
    assert (letter.body, letter.size) == (None, LARGEST_LISTED + 1)
    whole = await letters.get(OFFERS, letter.id)
    assert whole is not None
    assert whole.body == b"x" * (LARGEST_LISTED + 1)


async def test_what_is_put_back_has_its_bytes_and_begins_anew(client: Any, letters: DeadLetters) -> None:
    await bury(client, UPLOADS, "m1", '{"a": "Zoë"}')
    letter = await only(letters, UPLOADS)
    assert await letters.put_back(letter)
    place = await Places(client).find(UPLOADS, "m1")
    assert place is not None
    assert (place.state, place.attempt) == ("waiting", 1)
    entry = await take(client, UPLOADS)
    assert (entry.body, entry.message_id, entry.attempt) == ('{"a": "Zoë"}'.encode(), "m1", 1)
    assert await letters.counts() == {}
    assert not await letters.put_back(letter), "a second time there is nothing to put back"
    assert await client.xlen(UPLOADS) == 1


async def test_what_had_used_up_its_attempts_has_them_all_again(client: Any, letters: DeadLetters) -> None:
    await client.xadd(UPLOADS, {"__data__": "{}", "id": "m1", "failures": 4, "crashes": 2})
    await work(client, UPLOADS).bury(await take(client, UPLOADS), PermanentError("given up"))
    letter = await only(letters, UPLOADS)
    assert (letter.attempts, letter.failures, letter.crashes) == (7, 4, 2)
    await letters.put_back(letter)
    assert (await take(client, UPLOADS)).attempt == 1


async def test_what_is_discarded_is_gone_and_may_be_published_again(client: Any, letters: DeadLetters) -> None:
    await bury(client, UPLOADS, "m1", "{}")
    publish = Publication(client)
    assert not await publish(UPLOADS, "m1", "{}"), "while it is dead it is not sent again"
    letter = await only(letters, UPLOADS)
    assert await letters.discard(letter)
    assert not await letters.discard(letter)
    assert await letters.get(UPLOADS, letter.id) is None
    assert await Places(client).find(UPLOADS, "m1") is None
    assert await client.hlen(Keys(UPLOADS).places) == 0
    assert await publish(UPLOADS, "m1", "{}")


async def test_discarding_an_old_letter_leaves_the_place_of_a_newer_copy(client: Any, letters: DeadLetters) -> None:
    await bury(client, UPLOADS, "m1", "{}")
    old = await only(letters, UPLOADS)
    await client.hdel(Keys(UPLOADS).places, "m1")
    await Publication(client)(UPLOADS, "m1", "{}")
    assert await letters.discard(old)
    place = await Places(client).find(UPLOADS, "m1")
    assert place is not None
    assert place.state == "waiting"


async def test_a_foreign_producers_entry_without_an_id_dies_and_comes_back_too(
    client: Any, letters: DeadLetters
) -> None:
    await client.xadd(OFFERS, {b"__data__": b"\xff\xfe", b"failures": b"many"})
    await work(client, OFFERS).bury(await take(client, OFFERS), PermanentError("not JSON"))
    letter = await only(letters, OFFERS)
    assert (letter.message_id, letter.body) == ("", b"\xff\xfe")
    assert await letters.put_back(letter)
    assert (await take(client, OFFERS)).body == b"\xff\xfe"
    assert await client.hlen(Keys(OFFERS).places) == 0


async def test_a_cluster_runs_the_scripts(tmp_path: Path) -> None:
    """A server in cluster mode refuses a script whose keys lie in two slots."""
    with running(valkey_server(tmp_path / "cluster", cluster_enabled="yes")) as server:
        client = redis.asyncio.Redis.from_url(server.url)
        await client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await until(lambda: _is_up(client), seconds=20, what="the cluster")
        letters = DeadLetters(client)
        for number in range(2):
            await bury(client, UPLOADS, f"m{number}", "{}")
            place = await Places(client).find(UPLOADS, f"m{number}")
            assert place is not None
            assert place.state == "dead"
        first, second = await letters.page(STREAMS, 10)
        assert await letters.put_back(first)
        assert await letters.discard(second)
        assert await letters.counts() == {}
        await client.aclose()


async def _is_up(client: Any) -> bool:
    return b"cluster_state:ok" in await client.execute_command("CLUSTER", "INFO")


@pytest.mark.parametrize("letter_id", ["no-id", "1-2-3", "99999999999999999999999-0"])
async def test_what_is_no_id_is_nobodys(client: Any, letters: DeadLetters, letter_id: str) -> None:
    await bury(client, UPLOADS, "m1", "{}")
    assert await letters.get(UPLOADS, letter_id) is None
