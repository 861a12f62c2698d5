"""The time range of a log search, and how many lines lie in each part of it."""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sluice_frontend.models import Bucket, LogHit

CUSTOM = "Custom"
RANGES = {
    "Last 15 minutes": timedelta(minutes=15),
    "Last hour": timedelta(hours=1),
    "Last 24 hours": timedelta(days=1),
    "Last 7 days": timedelta(days=7),
}
_BARS = 60


def time_range(name: str, start: str | None, end: str | None, *, now: datetime) -> tuple[datetime, datetime]:
    """From a named range back from now, or from two times in UTC as they were typed.

    Raises:
        ValueError: a time is missing or cannot be read, or the end is not after the start; the text may be shown.
    """
    if name in RANGES:
        return now - RANGES[name], now
    first, last = _read(start, "From"), _read(end, "To")
    if first >= last:
        raise ValueError("“To” must be later than “From”.")
    return first, last


def interval_seconds(start: datetime, end: datetime) -> int:
    """The length of one of about sixty bars, in whole seconds."""
    return max(1, math.ceil((end - start).total_seconds() / _BARS))


def count_by_time(hits: Sequence[LogHit], seconds: int) -> list[Bucket]:
    """How many of these lines lie in each interval; intervals begin at multiples of their length since 1970."""
    counts = Counter(_begin(hit.time, seconds) for hit in hits)
    return [Bucket(time=time, count=count) for time, count in counts.items()]


def fill_gaps(buckets: Sequence[Bucket], start: datetime, end: datetime, seconds: int) -> list[Bucket]:
    """A bucket for each interval of the range, those without lines as well."""
    counts = {bucket.time: bucket.count for bucket in buckets}
    filled: list[Bucket] = []
    time = _begin(start, seconds)
    while time < end:
        filled.append(Bucket(time=time, count=counts.get(time, 0)))
        time += timedelta(seconds=seconds)
    return filled


def _begin(time: datetime, seconds: int) -> datetime:
    return datetime.fromtimestamp(time.timestamp() // seconds * seconds, UTC)


def _read(text: str | None, name: str) -> datetime:
    try:
        time = datetime.fromisoformat((text or "").strip())
    except ValueError:
        raise ValueError(f"“{name}” must be a time such as 2026-01-31 14:05:00 (UTC).") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
