"""Why somebody may see something: the verdict, the retrievals that gave it to them, and what was changed."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from sluice_frontend.explaining import Explanation
from sluice_frontend.models import AccessRecord, Document
from sluice_frontend.rendering.text import badge, inert

_LIMIT = 50
"""As many records as the gateway tells of at most."""


def render_choice(documents: Sequence[Document]) -> str:
    rows = "".join(
        f'<li><button type="button" class="quiet" data-send="choose" data-id="{inert(document.id)}">'
        f"{inert(document.title)}</button> {badge(document.access_level)} "
        f'<span class="meta">{inert(document.name)} · {inert(document.id)}</span></li>'
        for document in documents
    )
    return f'<h2>Which of these documents?</h2><ul class="choices">{rows}</ul>'


def render_verdict(told: Explanation) -> str:
    why = told.why
    answer, tone = ("Yes", "good") if why.may_see else ("No", "bad")
    reason = why.rule.partition(": ")[2] or why.rule
    level = badge(why.access_level) if why.access_level else '<span class="meta">gone</span>'
    return (
        f'<h2>May they see it now?</h2><p class="verdict"><strong class="{tone}">{answer}.</strong> '
        f"{inert(reason[:1].upper() + reason[1:])}.</p>"
        f'<dl class="facts"><dt>Person</dt>'
        f"<dd>{inert(told.person)} {badge(why.clearance)}{_id(why.person, told.person)}</dd><dt>Document or fix</dt>"
        f"<dd>{inert(told.document)} {level}{_id(why.document, told.document)}</dd></dl>"
    )


def _id(found: str, shown: str) -> str:
    return "" if found == shown else f' <span class="meta">{inert(found)}</span>'


def render_records(told: Explanation) -> str:
    return _given(told) + _changes(told)


def _given(told: Explanation) -> str:
    rows = "".join(_retrieval(record, told.why.document) for record in told.why.given)
    head = ("When (UTC)", "Request of the question", "Exact scope", "Passages")
    table = _table("Retrievals that gave it to them", head, rows)
    return f"<h2>When it was given to them</h2>{table if rows else '<p>It was never given to them.</p>'}" + _newest(
        told.why.given
    )


def _retrieval(record: AccessRecord, document: str) -> str:
    scope = cast("dict[str, Any]", record.detail.get("scope") or {})
    passages = cast("list[dict[str, Any]]", record.detail.get("passages") or [])
    ours = [f"{passage.get('passage_id')}" for passage in passages if passage.get("document_id") == document]
    outside = record.detail.get("outside_scope")
    warning = f'<p class="bad">Outside the scope: {inert(_text(outside))}</p>' if outside else ""
    facts = "".join(f"<dt>{inert(name)}</dt><dd>{inert(_text(value))}</dd>" for name, value in scope.items())
    return (
        f"<tr><td>{_stamp(record.at)}</td><td>{inert(record.target)}</td>"
        f"<td><dl>{facts}</dl>{warning}</td><td>{inert(', '.join(ours))}</td></tr>"
    )


def _changes(told: Explanation) -> str:
    names = {told.why.person: "the person", told.why.document: "the document"}
    rows = "".join(_change(record, names) for record in told.why.changes)
    table = _table("Changes of document and person", ("When (UTC)", "What", "By", "On", "Details"), rows)
    nothing = "<p>Nothing was done to either.</p>"
    return f"<h2>What was done to the document and the person</h2>{table if rows else nothing}" + _newest(
        told.why.changes
    )


def _change(record: AccessRecord, names: Mapping[str, str]) -> str:
    details = " · ".join(f"{name}: {_text(value)}" for name, value in record.detail.items() if value is not None)
    what = record.action.replace(".", " ").replace("-", " ")
    cells = (what, names.get(record.actor, record.actor), names.get(record.target, record.target), details)
    return f"<tr><td>{_stamp(record.at)}</td>{''.join(f'<td>{inert(cell)}</td>' for cell in cells)}</tr>"


def _table(caption: str, head: Sequence[str], rows: str) -> str:
    columns = "".join(f'<th scope="col">{name}</th>' for name in head)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{caption}">'
        f'<table class="records"><thead><tr>{columns}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _newest(records: Sequence[AccessRecord]) -> str:
    return f'<p class="meta">The newest {len(records)}; there may be more.</p>' if len(records) >= _LIMIT else ""


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(_text(part) for part in cast("list[object]", value))
    return json.dumps(value, ensure_ascii=False)


def _stamp(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
