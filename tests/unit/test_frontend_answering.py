"""The events of a chat, folded into what the page shows."""

from typing import Any

import pytest

from sluice_frontend.answering import LiveAnswer, without_citations
from sluice_frontend.models import ChatEvent
from sluice_frontend.page.events import skip
from sluice_frontend.page.frame import Frame, outputs

PASSAGE = {"n": 1, "title": "Refunds.pdf", "page": 3, "access_level": "EXTERNAL", "score": 0.9, "text": "Seven days."}


def answer_of(*events: tuple[str, dict[str, Any]]) -> LiveAnswer:
    answer = LiveAnswer("How long?")
    for name, data in events:
        answer.apply(ChatEvent(name=name, data=data))
    return answer


def test_tokens_add_up_to_the_text() -> None:
    answer = answer_of(("token", {"text": "Seven ", "attempt": 1}), ("token", {"text": "days", "attempt": 1}))
    assert answer.text == "Seven days"
    assert answer.status == "Answering…"


def test_a_restart_clears_what_was_shown_and_tells_who_takes_over() -> None:
    answer = answer_of(
        ("token", {"text": "Sev", "attempt": 1}),
        ("restart", {"attempt": 2, "tier": "gemini-2.5-flash", "reason": "429"}),
    )
    assert answer.text == ""
    assert "gemini-2.5-flash" in answer.status


def test_a_late_token_of_an_attempt_that_was_given_up_is_dropped() -> None:
    answer = answer_of(
        ("restart", {"attempt": 2, "tier": "b", "reason": "429"}),
        ("token", {"text": "old", "attempt": 1}),
        ("token", {"text": "new", "attempt": 2}),
    )
    assert answer.text == "new"


def test_done_tells_which_tier_answered() -> None:
    answer = answer_of(("done", {"tier": "gemini-2.5-pro", "finish_reason": "stop"}))
    assert answer.ended
    assert answer.status == "Answered by gemini-2.5-pro."


def test_an_extractive_answer_says_that_no_model_wrote_it() -> None:
    assert "no model" in answer_of(("done", {"tier": "extractive", "finish_reason": "stop"})).status


def test_an_answer_that_was_cut_short_says_so() -> None:
    assert "cut short" in answer_of(("done", {"tier": "x", "finish_reason": "length"})).status


def test_an_error_takes_text_and_sources_away_and_never_says_ready() -> None:
    """Sources beside an error would look as if they were its answer."""
    answer = answer_of(
        ("sources", {"passages": [PASSAGE]}),
        ("token", {"text": "Sev", "attempt": 1}),
        ("error", {"title": "Unavailable", "status": 503, "detail": "No tier answered."}),
    )
    assert (answer.text, answer.passages, answer.ended) == ("", (), True)
    assert answer.problem is not None
    assert answer.problem.detail == "No tier answered."
    assert "ready" not in answer.status.lower()


def test_an_event_of_a_newer_gateway_is_ignored() -> None:
    assert answer_of(("mood", {"value": "fine"})) == LiveAnswer("How long?")


@pytest.mark.parametrize(("name", "status"), [("retrieving", "Searching…"), ("answering", "Answering…")])
def test_a_stage_is_told_in_words(name: str, status: str) -> None:
    assert answer_of(("stage", {"name": name})).status == status


def test_a_correction_starts_without_the_numbers_of_the_sources() -> None:
    assert without_citations("Seven days [1]. In parts [2, 3].") == "Seven days. In parts."


def test_a_redraw_leaves_the_next_question_alone_that_is_being_typed() -> None:
    drawn = outputs(Frame(past="", live="a", sources="s", status="Answering…"))
    told = dict(zip(Frame._fields, drawn, strict=True))
    assert told["question"] == skip()
    assert told["live"] == "a"
    assert told["retry"]["visible"] is False


def test_an_answer_that_lacks_what_is_being_restored_says_so_beneath_it_and_in_the_status() -> None:
    whole = answer_of(("sources", {"passages": [PASSAGE]}), ("done", {"tier": "gemini-2.5-pro"}))
    lacking = answer_of(("sources", {"passages": [PASSAGE], "restoring": True}), ("done", {"tier": "gemini-2.5-pro"}))
    assert "being restored" not in whole.outcome + whole.status
    assert "being restored" in lacking.outcome
    assert "being restored" in lacking.status
