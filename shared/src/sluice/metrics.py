"""What the consumers and publishers of this process count, a stream at a time. docs/operations.md lists all metrics."""

from collections.abc import Iterable
from typing import Literal

from prometheus_client import Counter, Histogram

Outcome = Literal["done", "delayed", "dead", "duplicate", "superseded", "lost"]
_OUTCOMES: tuple[Outcome, ...] = ("done", "delayed", "dead", "duplicate", "superseded", "lost")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

_PUBLISHED = Counter("sluice_published_total", "Messages put on a stream, copies not counted.", ["stream"])
_DELIVERIES = Counter("sluice_deliveries_total", "Messages taken off a stream.", ["stream"])
_REDELIVERIES = Counter("sluice_redeliveries_total", "Those of them that were taken before.", ["stream"])
_OUTCOMES_TOTAL = Counter("sluice_messages_total", "Messages by what became of them.", ["stream", "outcome"])
_DEAD = Counter("sluice_dead_letters_total", "Messages given up, by the class of the error.", ["stream", "class"])
_REAPED = Counter("sluice_reaped_total", "Messages put back since their worker let the lease run out.", ["stream"])
_REFUSED = Counter("sluice_passports_refused_total", "Messages whose passport was no good.", ["stream", "reason"])
_SECONDS = Histogram("sluice_handler_seconds", "Time in the handler.", ["stream"], buckets=_BUCKETS)


class Meter:
    """The counters of one consumer's stream; each stands at 0 from the start, so that its first rise shows."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._deliveries = _DELIVERIES.labels(stream)
        self._redeliveries = _REDELIVERIES.labels(stream)
        self._reaped = _REAPED.labels(stream)
        self._outcomes = {outcome: _OUTCOMES_TOTAL.labels(stream, outcome) for outcome in _OUTCOMES}
        self.seconds = _SECONDS.labels(stream)

    def delivered(self, attempt: int) -> None:
        self._deliveries.inc()
        if attempt > 1:
            self._redeliveries.inc()

    def ended(self, outcome: Outcome, error: Exception | None = None) -> None:
        self._outcomes[outcome].inc()
        if outcome == "dead":
            _DEAD.labels(self._stream, type(error).__name__).inc()

    def expect_refusals(self, reasons: Iterable[str]) -> None:
        for reason in reasons:
            _REFUSED.labels(self._stream, reason)

    def refused(self, reason: str) -> None:
        _REFUSED.labels(self._stream, reason).inc()

    def reaped(self, count: int) -> None:
        self._reaped.inc(count)


def published(stream: str) -> None:
    _PUBLISHED.labels(stream).inc()
