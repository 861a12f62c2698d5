"""The time range of a log search and its histogram."""

from datetime import UTC, datetime, timedelta

import pytest

from sluice_frontend.models import Bucket, LogHit, LogPage
from sluice_frontend.rendering.logs import render_histogram, render_hits, render_summary
from sluice_frontend.searching import CUSTOM, count_by_time, fill_gaps, interval_seconds, time_range

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_named_range_reaches_back_from_now() -> None:
    assert time_range("Last hour", None, None, now=NOW) == (NOW - timedelta(hours=1), NOW)


def test_typed_times_are_utc() -> None:
    start, end = time_range(CUSTOM, "2026-02-01 10:00", "2026-02-01T11:00:00+00:00", now=NOW)
    assert (start, end) == (datetime(2026, 2, 1, 10, tzinfo=UTC), datetime(2026, 2, 1, 11, tzinfo=UTC))


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [("soon", "2026-02-01", "From"), ("2026-02-01", "", "To"), ("2026-02-02", "2026-02-01", "later")],
)
def test_a_range_that_cannot_be_is_explained(start: str, end: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        time_range(CUSTOM, start, end, now=NOW)


def test_every_line_of_the_range_is_counted_once() -> None:
    start = NOW - timedelta(hours=1)
    times = [start, start + timedelta(seconds=59), NOW - timedelta(minutes=30), NOW - timedelta(seconds=1)]
    seconds = interval_seconds(start, NOW)
    buckets = fill_gaps(count_by_time([LogHit(time=time) for time in times], seconds), start, NOW, seconds)
    assert (seconds, len(buckets)) == (60, 60)
    assert (buckets[0].count, buckets[30].count, buckets[59].count) == (2, 1, 1)
    assert sum(bucket.count for bucket in buckets) == 4


def test_a_bar_begins_at_a_multiple_of_its_length_as_the_counts_of_the_gateway_do() -> None:
    start = NOW + timedelta(seconds=7)
    counted = [Bucket(time=NOW, count=3)]
    assert fill_gaps(counted, start, start + timedelta(minutes=2), 60)[0] == counted[0]


def test_a_bar_tells_the_times_that_it_stands_for() -> None:
    start = NOW - timedelta(hours=1)
    buckets = fill_gaps([Bucket(time=start, count=1)], start, NOW, 60)
    html = render_histogram(buckets, NOW, caption="1 line")
    assert 'data-from="2026-03-01T11:00:00+00:00" data-to="2026-03-01T11:01:00+00:00"' in html
    assert 'aria-label="2026-03-01 11:00:00: 1 lines"' in html


def test_a_log_line_is_inert_and_opens_to_all_its_fields() -> None:
    hit = LogHit.model_validate(
        {
            "time": NOW,
            "level": "ERROR",
            "event": "<img src=x onerror=alert(1)>",
            "address": "\x1b[31m\u202ered",
            "n": {"a": 1},
        }
    )
    html = render_hits([hit])
    assert "<img" not in html
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert "<dt>address</dt>" in html
    assert "{&quot;a&quot;: 1}" in html


def test_a_summary_tells_how_many_of_how_many_are_shown_and_what_was_odd() -> None:
    html = render_summary(LogPage(total=1200, took_ms=4.2, warnings=("<b>one index is missing</b>",)), 200)
    assert "1,200 lines in 4 ms · 200 shown" in html
    assert "&lt;b&gt;" in html
