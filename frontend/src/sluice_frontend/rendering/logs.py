"""Found log lines: a histogram to narrow the range with, and a row a line that opens to all its fields."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from sluice_frontend.models import Bucket, LogHit, LogPage
from sluice_frontend.rendering.text import inert


def render_histogram(buckets: Sequence[Bucket], end: datetime, *, caption: str) -> str:
    """A bar a bucket; each is a button that narrows the search to itself, and a drag takes in several."""
    highest = max((bucket.count for bucket in buckets), default=0)
    if not highest:
        return ""
    ends = [bucket.time for bucket in buckets[1:]] + [end]
    bars = "".join(_bar(bucket, until, highest) for bucket, until in zip(buckets, ends, strict=True))
    axis = f"<span>{_clock(buckets[0].time)}</span><span>{inert(caption)}</span><span>{_clock(end)}</span>"
    return f'<div class="bars" role="group" aria-label="Lines over time">{bars}</div><p class="axis">{axis}</p>'


def render_summary(page: LogPage, shown: int) -> str:
    told = f"{page.total:,} lines in {page.took_ms:,.0f} ms" + (f" · {shown:,} shown" if shown < page.total else "")
    warnings = "".join(f'<li class="warning">{inert(warning)}</li>' for warning in page.warnings)
    return f"<p>{told}</p>{f'<ul>{warnings}</ul>' if warnings else ''}"


def render_hits(hits: Sequence[LogHit]) -> str:
    head = "".join(f"<span>{name}</span>" for name in ("Time (UTC)", "Level", "Service", "Event"))
    return f'<div class="lines"><div class="line-head" aria-hidden="true">{head}</div>{"".join(map(_line, hits))}</div>'


def _bar(bucket: Bucket, until: datetime, highest: int) -> str:
    label = f"{_clock(bucket.time)}: {bucket.count} lines"
    span = f'<span style="height:{round(100 * bucket.count / highest)}%"></span>'
    times = f'data-from="{bucket.time.isoformat()}" data-to="{until.isoformat()}"'
    unused = "" if bucket.count else " disabled"
    return f'<button type="button" {times} title="{label}" aria-label="{label}"{unused}>{span}</button>'


def _line(hit: LogHit) -> str:
    facts = (hit.model_extra or {}).items()
    details = "".join(f"<dt>{inert(name)}</dt><dd>{inert(_text(value))}</dd>" for name, value in facts)
    summary = " ".join(f"{name}={_text(value)}" for name, value in facts if name not in ("logger", "exception"))
    return (
        f'<details class="line level-{inert(hit.level.lower())}"><summary><span>{_stamp(hit.time)}</span>'
        f"<span>{inert(hit.level)}</span><span>{inert(hit.service)}</span>"
        f'<span><b>{inert(hit.event)}</b> <span class="rest">{inert(summary)}</span></span></summary>'
        f"<dl><dt>time</dt><dd>{hit.time.isoformat()}</dd>{details}</dl></details>"
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _stamp(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%m-%d %H:%M:%S.%f")[:-3]


def _clock(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
