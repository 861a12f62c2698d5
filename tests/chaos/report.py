"""What a scenario found, and the sum of all: a pytest plugin."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

REPORT: pytest.StashKey["Report"] = pytest.StashKey()


@dataclass
class Figures:
    """A scenario's figures: what went to work, what was done to it, and what of it is not as it should be.

    `lost`: told as done and not there, or ended in an error that nothing gives a reason for.
    `duplicated`: there more than once, or told more than once. `unanswered`: accepted, and never told its end.
    `recoveries`: seconds from a fault until something that was asked for after it had ended well.
    """

    scenario: str
    requests: int = 0
    faults: int = 0
    lost: int = 0
    duplicated: int = 0
    unanswered: int = 0
    recoveries: list[float] = field(default_factory=list[float])
    more: dict[str, Any] = field(default_factory=dict[str, Any])
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicated or self.unanswered)

    def line(self) -> str:
        counts = f"requests={self.requests} faults={self.faults} lost={self.lost} duplicated={self.duplicated}"
        counts += f" unanswered={self.unanswered}"
        if self.recoveries:
            counts += f" recovery_s={max(self.recoveries):.1f} (the longest of {len(self.recoveries)})"
        more = "".join(f" {name}={value}" for name, value in self.more.items())
        return f"{self.scenario}: {counts}{more} in {self.seconds:.0f} s"


class Report:
    """Collects the figures of the scenarios, and prints them at the end."""

    def __init__(self) -> None:
        self.scenarios: list[Figures] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[REPORT] = self

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.scenarios:
            terminalreporter.section("chaos")
            for figures in self.scenarios:
                terminalreporter.write_line(figures.line())

    @contextmanager
    def scenario(self, name: str) -> Iterator[Figures]:
        """Its figures, to be filled in; they are printed also when the scenario fails."""
        began = time.monotonic()
        figures = Figures(name)
        self.scenarios.append(figures)
        try:
            yield figures
        finally:
            figures.seconds = time.monotonic() - began

    @property
    def clean(self) -> bool:
        return all(figures.clean for figures in self.scenarios)

    def total(self) -> dict[str, float]:
        """The sum over all scenarios, as the last line of `make chaos` gives it."""
        sums = {
            name: sum(getattr(figures, name) for figures in self.scenarios)
            for name in ("faults", "lost", "duplicated", "unanswered")
        }
        return {**sums, "recovery_p99_s": p99(s for figures in self.scenarios for s in figures.recoveries)}


def p99(values: Iterable[float]) -> float:
    """The nearest-rank percentile; 0 of nothing."""
    ordered = sorted(values)
    return round(ordered[max(0, -(-len(ordered) * 99 // 100) - 1)], 2) if ordered else 0.0
