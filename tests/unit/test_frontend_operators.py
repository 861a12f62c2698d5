"""What the pages for operators and admins say, in words; names are data, whatever they contain."""

from typing import Any

from sluice_frontend.explaining import Explanation
from sluice_frontend.models import Document, LeakReport, Why
from sluice_frontend.rendering.access import render_choice, render_records, render_verdict
from sluice_frontend.rendering.operator import render_report

HOSTILE = '"><img src=x onerror=alert(1)>\u202e'
HELD = {"way": "chat", "requests": 36}
UNTRIED = {"way": "what stands in Redis", "untried": ["no --redis-url was given"]}
SEEN = {"way": "the page", "seen": [{"asker": "EXTERNAL reader", "call": "greet", "canary": "INTERNAL document"}]}
TAKEN = {"way": "jobs", "trespasses": [{"asker": "nobody", "call": "GET /jobs", "status": 200}]}


def report(*tried: dict[str, Any], **counts: Any) -> str:
    told = {"ways": len(tried), "canaries_seen": 0, "trespasses": 0, "untried": 0, "lost": [], "tried": tried}
    return render_report(LeakReport.model_validate(told | counts))


def why(**fields: Any) -> Explanation:
    told = {"person": "p1", "clearance": "EXTERNAL", "document": "d1", "access_level": "INTERNAL", "may_see": False}
    rule = "level: it is INTERNAL, and the person's clearance is EXTERNAL"
    return Explanation(Why.model_validate(told | {"rule": rule} | fields), "carl@example.com", "Guide")


def render_explanation(told: Explanation) -> str:
    return render_verdict(told) + render_records(told)


def record(**fields: Any) -> dict[str, Any]:
    told = {"sequence": 1, "at": "2026-01-02T03:04:05Z", "actor": "a1", "action": "person.signed-in", "target": "p1"}
    return told | fields


def test_a_clean_report_says_so_in_words_and_counts() -> None:
    html = report(HELD)
    assert "Nothing leaked." in html
    assert "held" in html
    assert "<dt>Planted sentences seen by who must not</dt><dd>0</dd>" in html


def test_a_way_that_was_not_tried_is_no_clean_report() -> None:
    html = report(HELD, UNTRIED, untried=1)
    assert "Nothing leaked." not in html
    assert "not every way could be tried" in html
    assert html.index("what stands in Redis") < html.index(">chat<"), "what did not hold comes first"
    assert "no --redis-url was given" in html


def test_a_leak_is_told_with_who_saw_what_where() -> None:
    html = report(HELD, SEEN, TAKEN, canaries_seen=1, trespasses=1)
    assert "It leaks." in html
    assert "INTERNAL document, by EXTERNAL reader: greet" in html
    assert "by nobody: GET /jobs (200)" in html


def test_what_is_gone_at_the_end_is_a_leak() -> None:
    html = report(HELD, lost=["INTERNAL of home"])
    assert "It leaks." in html
    assert "INTERNAL of home" in html


def test_the_verdict_and_its_rule_stand_in_plain_words() -> None:
    html = render_explanation(why())
    assert ">No.</strong> It is INTERNAL, and the person&#x27;s clearance is EXTERNAL." in html
    assert "carl@example.com" in html
    assert "It was never given to them." in html
    assert ">Yes.</strong>" in render_explanation(why(may_see=True))
    assert "gone" in render_explanation(why(access_level=None))


def test_a_retrieval_shows_when_for_which_question_and_the_exact_scope() -> None:
    scope = {"tenant": "acme", "clearance": "EXTERNAL", "levels": ["EXTERNAL"], "collections": ["acme.external.chunks"]}
    passages = [{"passage_id": "c1", "document_id": "d1"}, {"passage_id": "c2", "document_id": "d2"}]
    detail = {"scope": scope, "passages": passages, "outside_scope": ["c1"]}
    html = render_explanation(why(given=[record(target="request-7", detail=detail)]))
    for told in ("2026-01-02 03:04:05", "request-7", "acme.external.chunks", "c1", "Outside the scope: c1"):
        assert told in html
    assert "c2" not in html, "another document's"


def test_a_change_shows_who_did_what() -> None:
    change = record(action="document.classified", actor="operator", detail={"level": "INTERNAL", "from": None})
    html = render_explanation(why(changes=[change]))
    assert all(told in html for told in ("document classified", "operator", "level: INTERNAL", "<td>the person</td>"))
    assert "None" not in html


def test_a_long_list_says_that_it_may_be_cut() -> None:
    assert "The newest 50" in render_explanation(why(changes=[record()] * 50))


def test_whatever_is_told_is_inert() -> None:
    names = Document(id="d1", title=HOSTILE, name=HOSTILE, access_level="INTERNAL")
    hostile = record(actor=HOSTILE, action=HOSTILE, target=HOSTILE, detail={HOSTILE: [HOSTILE], "scope": {HOSTILE: 1}})
    explanation = Explanation(why(given=[hostile], changes=[hostile], rule=HOSTILE).why, HOSTILE, HOSTILE)
    for html in (
        render_choice([names]),
        render_explanation(explanation),
        report({"way": HOSTILE, "untried": [HOSTILE]}, lost=[HOSTILE]),
    ):
        assert "<img" not in html
        assert "\u202e" not in html
