"""What a consumer does with passports that are not good for their message, on a real Valkey."""

import base64
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from prometheus_client import REGISTRY

from sluice.access import Level, PassportVerifier, key_id
from sluice.broker import Broker, Delivery
from sluice.errors import SluiceError
from sluice.messages import PassportRefused, QuestionAsked
from sluice.passportkeys import PublicKeyFiles
from sluice.settings import CommonSettings
from tests.support.identity import Office
from tests.support.servers import RedisServer
from tests.support.waiting import until

STREAM = QuestionAsked.stream_of(Level.EXTERNAL)
DEAD = f"{{{STREAM}}}:dead"
HINTS = PassportRefused.stream


@pytest.fixture
async def client(valkey: RedisServer) -> AsyncIterator[Any]:
    client = redis.asyncio.Redis.from_url(valkey.url)
    await client.flushall()
    yield client
    await client.aclose()


class Retriever:
    """Notes what it was given to handle, and what it was told has failed."""

    def __init__(self) -> None:
        self.handled: list[str] = []
        self.told: list[str] = []

    async def on_asked(self, message: QuestionAsked, _: Delivery) -> None:
        self.handled.append(message.question)

    async def on_dead(self, _: QuestionAsked, __: Delivery, error: SluiceError) -> None:
        self.told.append(error.type)


@asynccontextmanager
async def retrieving(
    server: RedisServer, office: Office, verifier: PassportVerifier | None = None
) -> AsyncIterator[Retriever]:
    settings = CommonSettings(redis_url=server.url, port=0, lease_seconds=5, shutdown_grace_seconds=3)
    broker = Broker(settings, service="retriever", verifier=verifier or office.verifier, keyring=office.keyring)
    retriever = Retriever()
    broker.consume(QuestionAsked, retriever.on_asked, lane=Level.EXTERNAL, on_dead=retriever.on_dead)
    await broker.start()
    try:
        yield retriever
    finally:
        await broker.stop()


def question(office: Office, text: str = "How long do refunds take?", **changes: Any) -> QuestionAsked:
    return office.message(QuestionAsked, question=text, search_query=text, **changes)


def forgeries(office: Office) -> dict[str, list[str]]:
    """Bodies by the error that each must end with."""
    genuine, other = question(office), question(office, "Which invoice is open?")
    kid, claims, signature = genuine.passport.split(".")
    _, foreign_claims, foreign_signature = question(Office(), clearance=Level.INTERNAL).passport.split(".")
    header = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()

    def carrying(passport: str) -> str:
        return office.body(genuine.model_copy(update={"passport": passport}), STREAM)

    def changed(**fields: Any) -> str:
        return office.body(genuine.model_copy(update=fields), STREAM)

    written, swapped = json.loads(office.body(genuine, STREAM)), json.loads(office.body(other, STREAM))
    without = {name: value for name, value in written.items() if name != "passport"}
    return {
        "passport-missing": [json.dumps(without), carrying("")],
        "passport-malformed": [carrying("rubbish"), carrying(f"{claims}.{signature}")],
        "passport-key-unknown": [office.body(question(Office()), STREAM), carrying(f"{header}.{claims}.")],
        "passport-forged": [
            carrying(f"{key_id(office.public_key)}.{foreign_claims}.{foreign_signature}"),
            carrying(f"{kid}.{claims}."),
            carrying(f"{kid}.{foreign_claims}.{signature}"),
        ],
        "passport-of-another-request": [changed(request_id="another"), carrying(other.passport)],
        "passport-of-another-content": [changed(question="Tell me the salaries")],
        "passport-of-another-stream": [office.body(question(office, passport_streams=("answers.completed.v1",)))],
        "passport-of-another-tenant": [changed(tenant="tenant-b")],
        "passport-of-another-lane": [office.body(question(office, clearance=Level.INTERNAL), STREAM)],
        "message-does-not-open": [
            json.dumps({**written, "sealed": swapped["sealed"]}),
            json.dumps({**written, "message_id": "another"}),
        ],
    }


def refused(reason: str) -> float:
    labels = {"stream": STREAM, "reason": reason}
    return REGISTRY.get_sample_value("sluice_passports_refused_total", labels) or 0.0


async def test_what_has_no_good_passport_is_buried_with_its_reason_and_nothing_is_done(
    valkey: RedisServer, office: Office, client: Any
) -> None:
    """case 43: forged, of another request, with another body, for another audience, and what a header would decide.

    The dead letter names the reason, the metric rises, and the gateway's audit log is told; whoever forged it is not.
    """
    bodies = forgeries(office)
    expected = {reason: len(each) for reason, each in bodies.items()}
    before = {reason: refused(reason) for reason in bodies}
    async with retrieving(valkey, office) as retriever:
        for body in [body for each in bodies.values() for body in each]:
            await client.xadd(STREAM, {"__data__": body})
        await until(lambda: _length(client, DEAD, sum(expected.values())), seconds=30, what="all in the dead letters")
        await client.xadd(STREAM, {"__data__": office.body(question(office, "And now?"), STREAM)})
        await until(lambda: retriever.handled, seconds=20, what="the genuine one behind them")
    assert (retriever.handled, retriever.told) == (["And now?"], [])
    assert Counter(letter[b"error"].decode() for _, letter in await client.xrange(DEAD)) == expected
    assert {reason: refused(reason) - before[reason] for reason in bodies} == expected
    hints = [PassportRefused.model_validate_json(hint[b"__data__"]) for _, hint in await client.xrange(HINTS)]
    assert hints
    assert {hint.refused_on for hint in hints} == {STREAM}
    assert {hint.reason for hint in hints} <= set(bodies)


async def test_a_copy_of_a_message_is_not_handled_a_second_time(
    valkey: RedisServer, office: Office, client: Any
) -> None:
    """case 43: replayed as it was."""
    body = office.body(question(office, "Once"), STREAM)
    async with retrieving(valkey, office) as retriever:
        for copy in (body, body, office.body(question(office, "Last"), STREAM)):
            await client.xadd(STREAM, {"__data__": copy})
        await until(lambda: "Last" in retriever.handled, seconds=20, what="the last one")
    assert retriever.handled == ["Once", "Last"]


async def test_who_waits_for_a_request_whose_passport_has_expired_is_told_and_nobody_is_alarmed(
    valkey: RedisServer, office: Office, client: Any
) -> None:
    before = refused("passport-expired")
    late = question(office, passport_expires_at=datetime.now(UTC) - timedelta(seconds=1))
    async with retrieving(valkey, office) as retriever:
        await client.xadd(STREAM, {"__data__": office.body(late, STREAM)})
        await until(lambda: _length(client, DEAD, 1), seconds=20, what="a dead letter")
    assert (retriever.handled, retriever.told) == ([], ["passport-expired"])
    assert refused("passport-expired") == before + 1
    assert not await client.xlen(HINTS)


async def test_a_flood_of_forgeries_tells_the_audit_log_of_a_few_a_second(
    valkey: RedisServer, office: Office, client: Any
) -> None:
    async with retrieving(valkey, office) as retriever:
        begun = datetime.now(UTC)
        stranger = Office()
        for number in range(60):
            await client.xadd(STREAM, {"__data__": office.body(question(stranger, f"{number}"), STREAM)})
        await until(lambda: _length(client, DEAD, 60), seconds=60, what="all in the dead letters")
        seconds = (datetime.now(UTC) - begun).total_seconds()
    assert retriever.handled == []
    assert 1 <= await client.xlen(HINTS) <= 5 * (seconds + 2)


async def test_a_running_worker_takes_what_a_new_key_signed_and_refuses_what_one_that_is_gone_did(
    valkey: RedisServer, office: Office, client: Any, tmp_path: Path
) -> None:
    successor = Office()
    first, second = tmp_path / "passport.pub", tmp_path / "passport-2.pub"
    first.write_bytes(office.public_key)
    verifier = PassportVerifier.of(PublicKeyFiles(tmp_path))
    async with retrieving(valkey, office, verifier) as retriever:
        second.write_bytes(successor.public_key)
        await until(lambda: verifier.knows(key_id(successor.public_key)), seconds=20, what="the new public key")
        for signer, text in ((successor, "New"), (office, "Old")):
            await client.xadd(STREAM, {"__data__": office.body(question(signer, text), STREAM)})
        await until(lambda: len(retriever.handled) == 2, seconds=20, what="both")
        first.unlink()
        await until(lambda: not verifier.knows(key_id(office.public_key)), seconds=20, what="the old key's end")
        await client.xadd(STREAM, {"__data__": office.body(question(office, "Too late"), STREAM)})
        await until(lambda: _length(client, DEAD, 1), seconds=20, what="a dead letter")
    assert retriever.handled == ["New", "Old"]
    [(_, letter)] = await client.xrange(DEAD)
    assert letter[b"error"] == b"passport-key-unknown"


async def _length(client: Any, stream: str, wanted: int) -> bool:
    return await client.xlen(stream) == wanted
