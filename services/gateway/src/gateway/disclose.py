"""What of their former questions a person is shown: what lies within their clearance of now."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gateway.errors import WithheldError
from gateway.ports import Sources
from gateway.records import Person, Turn
from sluice.access import Level

ASKED_ABOVE = "it was asked with a clearance that you have not any more"
RESTS_ABOVE = "its answer rests on what is above your clearance"
SOURCES_CHANGED = "its answer rests on sources that are not, or no longer, for your clearance"


@dataclass(frozen=True, kw_only=True)
class Disclose:
    """Withholds a turn as a whole: by the lane it was asked in, its level, and the levels that its sources have now.

    A question asked as INTERNAL may tell what its asker read as INTERNAL, and its answer repeats it, whatever that
    rests on. A source that is gone has no level any more, and counts as one above the clearance of EXTERNAL people.
    """

    sources: Sources

    async def check(self, person: Person, turn: Turn) -> None:
        """Raises WithheldError."""
        for reason in (await self.withheld(person.tenant.id, person.clearance, [turn])).values():
            raise WithheldError(reason)

    async def check_sources(self, person: Person, ids: Collection[str]) -> None:
        """Raises WithheldError when one of the documents and fixes is not for the person now."""
        if not ids or person.clearance is Level.INTERNAL:
            return
        if set(ids) - await self.sources.readable(person.tenant.id, ids, person.clearance.readable):
            raise WithheldError(SOURCES_CHANGED)

    async def withheld(self, tenant_id: str, clearance: Level, turns: Sequence[Turn]) -> dict[str, str]:
        """Why each of these turns is not for this clearance, by its id; those that are not in it are."""
        found = {turn.id: reason for turn in turns if (reason := _above(clearance, turn))}
        left = {turn.id: rests_on(turn) for turn in turns if turn.id not in found}
        if clearance is Level.INTERNAL or not (ids := set[str]().union(*left.values())):
            return found
        readable = await self.sources.readable(tenant_id, ids, clearance.readable)
        return found | {turn_id: SOURCES_CHANGED for turn_id, needed in left.items() if not needed <= readable}


def rests_on(turn: Turn) -> set[str]:
    """The documents and fixes that the answer can quote, those of the turns that were sent along included."""
    return {source["document_id"] for source in turn.sources} | set(turn.inherited)


def _above(clearance: Level, turn: Turn) -> str | None:
    if clearance < turn.lane:
        return ASKED_ABOVE
    return RESTS_ABOVE if clearance < turn.level else None
