"""The test from beginning to end, and what it reports."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from sluice.cli.selftest.planting import plant, still_there
from sluice.cli.selftest.record import Record
from sluice.cli.selftest.stage import Stage
from sluice.cli.selftest.ways import WAYS


@dataclass(frozen=True)
class Report:
    """`lost`: what was removed by somebody who must not."""

    records: list[Record]
    lost: list[str] = field(default_factory=list[str])

    @property
    def canaries_seen(self) -> int:
        return sum(len(record.seen) for record in self.records)

    @property
    def clean(self) -> bool:
        """Nothing was seen or taken, and every way was tried."""
        return not self.lost and not any(r.seen or r.trespasses or r.untried for r in self.records)

    def as_json(self) -> dict[str, Any]:
        return {
            "ways": len(self.records),
            "canaries_seen": self.canaries_seen,
            "trespasses": sum(len(record.trespasses) for record in self.records),
            "untried": sum(bool(record.untried) for record in self.records),
            "lost": self.lost,
            "tried": [record.as_json() for record in self.records],
        }


def run(stage: Stage, tell: Callable[[Record], None], only: Collection[str] = ()) -> Report:
    """Plants, tries every way (or those named in `only`), and looks whether all is still there."""
    records: list[Record] = []
    plant(stage)
    for way in WAYS:
        if not only or way.name in only:
            records.append(way.tried(stage))
            tell(records[-1])
    return Report(records, still_there(stage))
