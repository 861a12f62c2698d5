"""Sources, documents and texts: titles and names are data, whatever they contain."""

import json
import logging

import pytest

from sluice_frontend.models import (
    AcceptedJob,
    Conversation,
    ConversationSummary,
    Document,
    Issuer,
    Job,
    Passage,
    Progress,
    Turn,
    Waiting,
    Ways,
)
from sluice_frontend.rendering.conversation import render_summaries, render_turns
from sluice_frontend.rendering.documents import render_documents, render_jobs
from sluice_frontend.rendering.login import render_login
from sluice_frontend.rendering.sources import render_sources
from sluice_frontend.rendering.text import highlight
from sluice_frontend.telemetry import JsonFormatter

HOSTILE = '"><img src=x onerror=alert(1)>\u202e'


def passage(**fields: object) -> Passage:
    told = {"n": 1, "title": "Refunds.pdf", "access_level": "INTERNAL", "text": "Refunds take seven days.", "page": 3}
    return Passage.model_validate(told | fields)


def test_a_source_shows_title_page_level_and_the_matched_words() -> None:
    html = render_sources([], "How long does a refund take?", [passage()], hint="")
    assert 'id="s1-1"' in html
    assert "Refunds.pdf" in html
    assert "page 3" in html
    assert "INTERNAL" in html
    assert "<mark>Refunds take</mark> seven days." in html


def test_sources_of_earlier_turns_are_there_but_hidden() -> None:
    earlier = Turn(question="a", answer="b", sources=(passage(title="Earlier.pdf"),))
    html = render_sources([earlier], "q", [passage(title="Newest.pdf")], hint="")
    hidden, newest = html.split('<div class="sources-of" >')
    assert '<div class="sources-of" hidden>' in hidden
    assert 'id="s1-1"' in hidden
    assert 'id="s2-1"' in newest


def test_a_correction_is_told_apart_from_a_document() -> None:
    assert "a correction by your team" in render_sources([], "q", [passage(fix=True)], hint="")


def test_titles_and_passages_are_inert() -> None:
    html = render_sources([], "img", [passage(title=HOSTILE, text=HOSTILE)], hint="")
    assert "<img" not in html
    assert "\u202e" not in html


def test_common_words_are_not_highlighted() -> None:
    assert "<mark>" not in highlight("The card and the bank", "What does the and this")


def test_a_file_that_failed_says_why() -> None:
    html = render_jobs([AcceptedJob(job_id="j", name="bad.pdf")], [Job(state="failed", error="The PDF is encrypted.")])
    assert "failed: The PDF is encrypted." in html


def test_a_file_in_work_shows_how_far_it_is() -> None:
    job = Job(state="embedding", progress=Progress(done=3, total=12))
    html = render_jobs([AcceptedJob(job_id="j", name="a.pdf")], [job])
    assert 'value="25"' in html
    assert "embedding 3 of 12" in html


@pytest.mark.parametrize("state", ["queued", "retrying"])
def test_a_file_that_waits_says_why(state: str) -> None:
    job = Job(state=state, waiting=Waiting(state="waiting", detail="3 documents <are> before this one"))
    html = render_jobs([AcceptedJob(job_id="j", name="a.pdf")], [job])
    assert f"{state}: 3 documents &lt;are&gt; before this one" in html


def test_a_file_that_a_worker_is_at_shows_how_far_it_is_and_no_more() -> None:
    running = Waiting(state="running", detail="a worker is at it")
    job = Job(state="embedding", progress=Progress(done=3, total=12), waiting=running)
    html = render_jobs([AcceptedJob(job_id="j", name="a.pdf")], [job])
    assert "embedding 3 of 12" in html
    assert "a worker" not in html


def test_a_problem_in_place_of_a_reason_is_told_by_its_detail() -> None:
    assert Job.model_validate({"state": "failed", "error": {"detail": "Too large."}}).error == "Too large."


def test_file_names_are_inert() -> None:
    document = Document(id="d", title=HOSTILE, access_level="INTERNAL", state="done")
    html = render_documents([document]) + render_jobs([AcceptedJob(job_id="j", name=HOSTILE)], [Job(state="done")])
    assert "<img" not in html
    assert "\u202e" not in html


def test_a_deleted_document_is_not_listed() -> None:
    assert "gone.pdf" not in render_documents(
        [Document(id="d", title="gone.pdf", access_level="INTERNAL", state="deleted")]
    )


def test_the_sign_in_page_never_repeats_a_password() -> None:
    ways = Ways(issuers=(Issuer(name="a", title=HOSTILE),), forgotten=True, sign_up=True)
    html = render_login(
        email=HOSTILE, tenant=HOSTILE, ask_tenant=False, ask_new_password=True, lines=["Wrong."], notice="", ways=ways
    )
    assert html.count('value=""') == 2
    assert "<img" not in html


def test_a_log_line_is_json_in_the_shape_of_the_other_services() -> None:
    record = logging.makeLogRecord({"msg": "page.opened", "levelname": "INFO", "name": "x", "request_id": "r1"})
    line = json.loads(JsonFormatter().format(record))
    assert (line["level"], line["service"], line["event"], line["request_id"]) == (
        "INFO",
        "frontend",
        "page.opened",
        "r1",
    )
    assert line["time"].endswith("Z")


def test_a_withheld_turn_tells_why_and_a_withheld_title_that_there_is_one() -> None:
    turns = [{"id": "1", "withheld": "it was asked with <another> clearance"}, {"question": "Why?", "answer": "So."}]
    html = render_turns(Conversation.model_validate({"id": "c", "title": "", "turns": turns}))
    assert "withheld: it was asked with &lt;another&gt; clearance" in html
    assert "Why?" in html
    assert "(withheld)" in render_summaries([ConversationSummary(id="c", title="")])
