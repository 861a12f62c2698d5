"""What the gateway makes of a worker's hint that a collection is damaged."""

from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.indexes import Indexes
from gateway.records import Tenant
from sluice.access import Level
from sluice.messages import IndexDamaged, IndexPart, Message
from tests.support.identity import Office

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HINT = IndexDamaged(tenant="pier", part=IndexPart(access_level=Level.EXTERNAL, kind="chunks", incident="a1"))


class Accounts:
    async def tenant(self, slug: str) -> Tenant:
        return Tenant(id="t1", slug=slug, name="Pier", internal_domains=[], created_at=NOON)


class Stream:
    """Refuses what it knows, as the broker does with what stands, is dead or was done."""

    def __init__(self) -> None:
        self.messages: dict[str, Message] = {}

    async def publish(self, message: Message) -> bool:
        new = message.message_id not in self.messages
        self.messages.setdefault(message.message_id, message)
        return new


class Audit(list[Any]):
    async def record(self, entry: Any) -> None:
        self.append(entry)


async def test_damage_that_stands_is_mended_anew_each_hour_and_once_an_hour() -> None:
    office, stream, audit = Office(), Stream(), Audit()
    parts: dict[str, Any] = {"accounts": Accounts(), "tasks": None, "publisher": stream, "audit": audit}
    indexes = Indexes(**parts, signer=office.signer, deadline=timedelta(hours=1))
    for minutes in (0, 1, 59):
        await indexes.mend(HINT, NOON + timedelta(minutes=minutes))
    assert (len(stream.messages), len(audit)) == (1, 1)
    await indexes.mend(HINT, NOON + timedelta(minutes=60))
    assert (len(stream.messages), len(audit)) == (2, 2)
    first, second = stream.messages.values()
    assert first.request_id != second.request_id
    for message in (first, second):
        passport = office.verifier.verify(
            message.passport, stream=message.stream, job=message.request_id, asked=message.asked
        )
        assert (passport.tenant, passport.subject, passport.rights) == ("pier", "system:rebuild", frozenset())
        assert passport.streams == ("indexes.rebuilt.v1", "indexes.progress.v1")


async def test_the_passport_of_a_rebuilding_reaches_the_collections_level_alone() -> None:
    """Not even the level below, which a person of that clearance reads."""
    office, stream = Office(), Stream()
    parts: dict[str, Any] = {"accounts": Accounts(), "tasks": None, "publisher": stream, "audit": Audit()}
    indexes = Indexes(**parts, signer=office.signer, deadline=timedelta(hours=1))
    part = IndexPart(access_level=Level.INTERNAL, kind="fixes", incident="a1")
    await indexes.mend(IndexDamaged(tenant="pier", part=part), NOON)
    [message] = stream.messages.values()
    passport = office.verifier.verify(
        message.passport, stream=message.stream, job=message.request_id, asked=message.asked
    )
    assert passport.scope.levels == (Level.INTERNAL,)
