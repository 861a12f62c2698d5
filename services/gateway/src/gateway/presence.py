"""Who of the people with open streams may still have them, looked up together: a thousand streams cost one query."""

import asyncio

from gateway.ports import Accounts
from gateway.records import Person

_GATHER_SECONDS = 0.05
LOOK_AGAIN_SECONDS = 3.0
"""How long what is known of a stream's reader holds."""


class Presence:
    """Whoever asks within a moment shares one look into the database."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._waiting: dict[str, asyncio.Future[Person | None]] = {}
        self._looks: set[asyncio.Task[None]] = set()

    async def __call__(self, token_sha256: str) -> Person | None:
        """Whose session it is now; None for a session that ended and for who was suspended."""
        if not self._waiting:
            look = asyncio.create_task(self._look())
            self._looks.add(look)
            look.add_done_callback(self._looks.discard)
        answer = self._waiting.get(token_sha256)
        if answer is None:
            answer = self._waiting[token_sha256] = asyncio.get_running_loop().create_future()
        return await asyncio.shield(answer)

    async def _look(self) -> None:
        await asyncio.sleep(_GATHER_SECONDS)
        asked, self._waiting = self._waiting, {}
        try:
            found = await self._accounts.all_signed_in(asked)
        except Exception as error:
            for answer in asked.values():
                answer.set_exception(error)
                answer.exception()  # it is told even if nobody waits any more
        else:
            for token_sha256, answer in asked.items():
                answer.set_result(found.get(token_sha256))
