"""Times as log records and queries write them."""

import re
from datetime import UTC, datetime, timedelta

_RELATIVE = re.compile(r"now(?:([+-])(\d{1,6})([smhdw]))?")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_time(text: str) -> datetime:
    """An RFC 3339 time; one without an offset is taken as UTC.

    Raises:
        ValueError: it is none, or lies outside 1970 to 2261.
    """
    time = datetime.fromisoformat(text)
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    if not 1970 <= time.year <= 2261:  # the index counts time in 64 bits
        raise ValueError("a time lies between the years 1970 and 2261")
    return time


def parse_bound(text: str, now: datetime) -> tuple[datetime, timedelta]:
    """A range's bound and how long it lasts: RFC 3339 (an instant), a date (a day), `now` with `-15m`, `-1h`, `-7d`.

    Raises:
        ValueError: it is none of these.
    """
    if relative := _RELATIVE.fullmatch(text):
        sign, count, unit = relative.groups()
        if count is None:
            return now, timedelta()
        distance = timedelta(**{_UNITS[unit]: int(count)})
        return (now - distance if sign == "-" else now + distance), timedelta()
    return parse_time(text), timedelta(days=1) if _DATE.fullmatch(text) else timedelta()


def microseconds(time: datetime) -> int:
    """Since 1970, exactly."""
    return (time - EPOCH) // timedelta(microseconds=1)
