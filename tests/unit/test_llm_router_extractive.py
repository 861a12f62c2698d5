"""Answers without a model: which sentences are quoted, and what is cited."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_router.extractive import NO_MODEL, RESTORING, UNKNOWN, quote
from llm_router.ports import Final, Inquiry, Text
from llm_router.sentences import cut
from llm_router.terms import stem
from llm_router.tiers import ExtractiveTier
from sluice.access import Level
from sluice.messages import Passage

REFUNDS = """# Refunds

Refunds for debit cards take 5 to 7 business days. Refunds for credit cards take 3 to 5 business days. This is because
the issuing bank posts credits in batches. Debit card refunds pass through the clearing house, so that they take longer.

Chargebacks cost 15 euros each. Refunds are free of charge."""


def passage(text: str = REFUNDS, **fields: object) -> Passage:
    values = {"chunk_id": "c", "document_id": "d", "title": "Help", "access_level": Level.EXTERNAL, "text": text}
    return Passage.model_validate({**values, **fields})


def ask(question: str, *passages: Passage, search_query: str = "") -> str:
    return quote(Inquiry(question, search_query or question, passages=passages or (passage(),)))


def quotations(answer: str) -> list[str]:
    return re.findall(r"^> (.*)$", answer, re.MULTILINE)


@pytest.mark.parametrize(
    ("question", "quoted"),
    [
        ("How long do refunds take for debit cards?", "Refunds for debit cards take 5 to 7 business days. [1]"),
        ("How long do refunds take for credit cards?", "Refunds for credit cards take 3 to 5 business days. [1]"),
        ("How much does a chargeback cost?", "Chargebacks cost 15 euros each. [1]"),
        ("Are refunds free?", "Refunds are free of charge. [1]"),
    ],
)
def test_the_sentence_that_answers_is_quoted_alone_with_its_citation(question: str, quoted: str) -> None:
    assert quotations(ask(question)) == [quoted]


def test_the_answer_says_that_no_model_wrote_it() -> None:
    assert NO_MODEL in ask("Are refunds free?")


@pytest.mark.parametrize(
    "question", ["What is the capital of France?", "Do you sell umbrellas?", "Who is the chairman?", "?"]
)
def test_where_no_sentence_shares_enough_it_does_not_know_and_cites_nothing(question: str) -> None:
    answer = ask(question)
    assert answer == UNKNOWN
    assert "[" not in answer


def test_without_passages_it_does_not_know() -> None:
    assert quote(Inquiry("How long?", "How long?")) == UNKNOWN


def test_a_passage_near_in_meaning_needs_fewer_of_the_askers_words() -> None:
    text = "To reset a password, open the settings page."
    question = "How do I reset my password as a merchant on the dashboard?"
    assert ask(question, passage(text, score=0.1)) == UNKNOWN
    assert quotations(ask(question, passage(text, score=0.7))) == [f"{text} [1]"]


def test_a_question_of_two_parts_gets_a_quotation_for_each() -> None:
    text = "Invoices are sent on the first of the month. Parcels leave the warehouse daily."
    got = quotations(ask("When are invoices sent and when do parcels leave the warehouse?", passage(text)))
    assert got == ["Invoices are sent on the first of the month. [1]", "Parcels leave the warehouse daily. [1]"]


def test_the_askers_own_words_weigh_more_than_those_of_earlier_turns() -> None:
    """The query repeats the earlier question, of which another sentence has far more words."""
    query = "Is it free? How long do refunds for debit cards take, in business days?"
    assert quotations(ask("Is it free?", search_query=query)) == ["Refunds are free of charge. [1]"]


def test_an_elliptic_follow_up_is_answered_for_its_own_subject() -> None:
    got = quotations(ask("and for credit cards?", search_query="How long do refunds take for credit cards?"))
    assert got == ["Refunds for credit cards take 3 to 5 business days. [1]"]


def test_an_own_word_that_stands_nowhere_is_not_covered_up_by_earlier_ones() -> None:
    assert ask("Is it insured?", search_query="Is it insured? How long do refunds take for debit cards?") == UNKNOWN


def test_why_prefers_the_sentence_that_gives_a_reason() -> None:
    got = quotations(ask("Why do refunds for debit cards take longer?"))
    assert got == ["Debit card refunds pass through the clearing house, so that they take longer. [1]"]


def test_a_reason_that_leans_on_the_sentence_before_is_quoted_with_it() -> None:
    query = "Why: How long do refunds take for credit cards? Refunds for credit cards take 3 to 5 business days."
    assert quotations(ask("why?", search_query=query)) == [
        "Refunds for credit cards take 3 to 5 business days. "
        "This is because the issuing bank posts credits in batches. [1]"
    ]


def test_each_quotation_cites_the_passage_that_it_stands_in() -> None:
    got = quotations(ask("How much does a chargeback cost?", passage("Parcels leave daily."), passage()))
    assert got == ["Chargebacks cost 15 euros each. [2]"]


def test_what_two_overlapping_chunks_hold_is_quoted_once() -> None:
    second = passage("longer. Chargebacks cost 15 euros each. Ask your bank.", offset=800)
    assert len(quotations(ask("How much does a chargeback cost?", passage(), second))) == 1


def test_a_fix_that_was_found_first_is_the_answer() -> None:
    fix = passage("Ten days, since June.", title="How long do refunds take for debit cards?", fix=True, score=0.97)
    answer = ask("How long do refunds take for debit cards?", fix, passage())
    assert answer.startswith("Ten days, since June. [1]")
    assert "5 to 7" not in answer


def test_a_fix_of_another_question_gives_way_to_a_sentence_with_the_askers_words() -> None:
    """The vectors of the two questions are near to each other; the one word that differs is what was asked."""
    fix = passage("Ten days.", title="How long do refunds take for credit cards?", fix=True, score=0.9)
    got = quotations(ask("How long do refunds take for debit cards?", fix, passage()))
    assert got == ["Refunds for debit cards take 5 to 7 business days. [2]"]


def test_a_row_of_a_table_is_quoted_with_its_columns() -> None:
    rows = [passage(f"Plan: {plan}\nPrice: {price} EUR\nSupport: mail") for plan, price in (("Basic", 10), ("Pro", 20))]
    assert quotations(ask("What is the price of the Pro plan?", *rows)) == [
        "Plan: Pro; Price: 20 EUR; Support: mail [2]"
    ]


def test_a_markdown_table_row_is_quoted_with_its_header() -> None:
    table = "| Card | Days |\n|---|---|\n| Debit | 5 to 7 |\n| Credit | 3 to 5 |"
    assert quotations(ask("How many days for a credit card?", passage(table))) == ["Card: Credit; Days: 3 to 5 [1]"]


def test_a_list_is_quoted_whole_when_its_lead_in_answers_and_an_item_when_that_does() -> None:
    text = passage("To open an account you need:\n- a passport\n- a photo of your face\n\nClosing it is free.")
    whole = "To open an account you need: a passport; a photo of your face [1]"
    assert quotations(ask("What is needed to open an account?", text)) == [whole]
    item = "To open an account you need: a photo of your face [1]"
    assert quotations(ask("Is a photo needed to open an account?", text)) == [item]


@pytest.mark.parametrize(
    "text",
    [
        "# How long do refunds take?\n\nFive business days.",
        "How long do refunds take?\nFive business days.",
        "Q: How long do refunds take?\nA: Five business days.",
        "How long refunds take\n\nFive business days.",
    ],
)
def test_a_heading_or_question_is_not_quoted_but_tells_what_the_sentence_below_answers(text: str) -> None:
    assert quotations(ask("How long do refunds take?", passage(text))) == ["Five business days. [1]"]


def test_a_number_in_brackets_inside_a_passage_does_not_become_a_citation() -> None:
    assert quotations(ask("Are refunds free?", passage("Refunds are free [2]."))) == ["Refunds are free (2). [1]"]


def test_links_and_images_of_a_passage_are_quoted_as_their_text() -> None:
    """case 36: a quotation calls nobody."""
    text = "Refunds are ![free](https://example.com/p.png) for [all cards](https://example.com)."
    assert quotations(ask("Are refunds free?", passage(text))) == ["Refunds are free for all cards. [1]"]


def test_lines_that_a_pdf_broke_are_joined() -> None:
    text = "Refunds are paid out to the card that was\ncharged. They need five busi-\nness days."
    got = quotations(ask("Which card are refunds paid out to?", passage(text)))
    assert got == ["Refunds are paid out to the card that was charged. [1]"]


def test_abbreviations_and_decimals_end_no_sentence() -> None:
    text = "It costs 3.50 euros, e.g. Visa or approx. 4 dollars. Dr. Who pays nothing."
    assert [sentence.text for sentence in cut(text)] == [
        "It costs 3.50 euros, e.g. Visa or approx. 4 dollars.",
        "Dr. Who pays nothing.",
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [("cards", "card"), ("taking", "takes"), ("refunded", "refunds"), ("policies", "policy"), ("boxes", "box")],
)
def test_forms_of_a_word_are_the_same(one: str, other: str) -> None:
    assert stem(one) == stem(other)


@pytest.mark.parametrize(("one", "other"), [("status", "state"), ("bus", "but"), ("bass", "base"), ("2023", "2024")])
def test_different_words_stay_different(one: str, other: str) -> None:
    assert stem(one) != stem(other)


@given(st.text(max_size=300), st.text(max_size=60))
def test_any_text_can_be_asked_of_any_passage(text: str, question: str) -> None:
    assert quote(Inquiry(question, question, passages=(passage(text),)))


async def test_the_tier_streams_the_answer_in_groups_of_words() -> None:
    tier = ExtractiveTier()
    inquiry = Inquiry("Are refunds free?", "Are refunds free?", passages=(passage(),))
    pieces = [piece async for piece in tier.answer(inquiry)]
    texts = [piece.text for piece in pieces if isinstance(piece, Text)]
    assert "".join(texts) == quote(inquiry)
    assert len(texts) > 3
    assert pieces[-1] == Final("stop")


def test_i_dont_know_says_when_a_part_of_the_knowledge_was_not_looked_into() -> None:
    answer = quote(Inquiry("How long?", "How long?", restoring=True))
    assert answer.startswith("I don't know")
    assert RESTORING in answer
    assert RESTORING not in quote(Inquiry("How long?", "How long?"))
