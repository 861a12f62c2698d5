"""Whether who has an open stream may still have it, looked up for all of them together: a thousand cost one query."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

from gateway.disclose import Disclose
from gateway.errors import NotFoundError, WithheldError
from gateway.ports import Accounts, Conversations
from gateway.records import Person, Turn
from sluice.access import Level
from sluice.errors import SluiceError

K = TypeVar("K")
V = TypeVar("V")
_GATHER_SECONDS = 0.05
LOOK_AHEAD_SECONDS = 1.5
LOOK_AGAIN_SECONDS = 3.0
"""How long what is known of a stream's reader holds."""


class Gathered(Generic[K, V]):
    """Whoever asks within a moment shares one look."""

    def __init__(self, look: Callable[[Iterable[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._look = look
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._looks: set[asyncio.Task[None]] = set()

    async def __call__(self, key: K) -> V | None:
        """What was found for it. Raises what the look raises."""
        if not self._waiting:
            look = asyncio.create_task(self._look_for_all())
            self._looks.add(look)
            look.add_done_callback(self._looks.discard)
        answer = self._waiting.get(key)
        if answer is None:
            answer = self._waiting[key] = asyncio.get_running_loop().create_future()
        return await asyncio.shield(answer)

    async def _look_for_all(self) -> None:
        await asyncio.sleep(_GATHER_SECONDS)
        asked, self._waiting = self._waiting, {}
        try:
            found = await self._look(asked)
        except Exception as error:
            for answer in asked.values():
                answer.set_exception(error)
                answer.exception()  # it is told even if nobody waits any more
        else:
            for key, answer in asked.items():
                answer.set_result(found.get(key))


class Presence(Gathered[str, Person]):
    """Whose session a token's hash is now; None for a session that ended and for who was suspended."""

    def __init__(self, accounts: Accounts) -> None:
        super().__init__(accounts.all_signed_in)


class _Reading(NamedTuple):
    """An EXTERNAL person's open stream."""

    person_id: str
    tenant_id: str
    turn_id: str


class StillReadable:
    """Whether a person may still have the turn whose stream they read: it can come to rest on what is not for them."""

    def __init__(self, conversations: Conversations, disclose: Disclose) -> None:
        self._conversations = conversations
        self._disclose = disclose
        self._refusals: Gathered[_Reading, SluiceError] = Gathered(self._refused)

    async def __call__(self, person: Person, turn: Turn) -> None:
        """Raises NotFoundError, WithheldError. INTERNAL people may read whatever it rests on: nothing is looked up."""
        if person.clearance is Level.INTERNAL:
            await self._disclose.check(person, turn)
        elif error := await self._refusals(_Reading(person.id, person.tenant.id, turn.id)):
            raise error

    async def _refused(self, asked: Iterable[_Reading]) -> dict[_Reading, SluiceError]:
        """Why, of those that are."""
        found = {
            turn.id: turn for turn in await self._conversations.turns_of([(r.person_id, r.turn_id) for r in asked])
        }
        refused: dict[_Reading, SluiceError] = {}
        of_tenant: defaultdict[str, list[_Reading]] = defaultdict(list)
        for reading in asked:
            if reading.turn_id in found:
                of_tenant[reading.tenant_id].append(reading)
            else:
                refused[reading] = NotFoundError("there is no such request")
        for tenant_id, readings in of_tenant.items():
            turns = [found[reading.turn_id] for reading in readings]
            reasons = await self._disclose.withheld(tenant_id, Level.EXTERNAL, turns)
            refused |= {each: WithheldError(reasons[each.turn_id]) for each in readings if each.turn_id in reasons}
        return refused
