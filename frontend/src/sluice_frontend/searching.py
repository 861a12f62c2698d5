"""The time range of a log search, and how many lines lie in each part of it."""

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
_BUCKETS = 60


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


def count_by_time(hits: Sequence[LogHit], start: datetime, end: datetime) -> list[Bucket]:
    """Sixty buckets of the same width over the range."""
    width = (end - start) / _BUCKETS
    counts = [0] * _BUCKETS
    for hit in hits:
        if start <= hit.time <= end:
            counts[min(int((hit.time - start) / width), _BUCKETS - 1)] += 1
    return [Bucket(time=start + width * index, count=count) for index, count in enumerate(counts)]


def _read(text: str | None, name: str) -> datetime:
    try:
        time = datetime.fromisoformat((text or "").strip())
    except ValueError:
        raise ValueError(f"“{name}” must be a time such as 2026-01-31 14:05:00 (UTC).") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
