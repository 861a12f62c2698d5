"""Follow-ups that are made to stand alone."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import pytest

from llm_router.follow_up import FollowUp
from llm_router.follow_up_rules import stand_alone
from llm_router.ports import Failure, Final, Piece, Prompt, Text, TierUnavailableError
from sluice.errors import PermanentError
from sluice.messages import Turn

DEBIT = "How long do refunds take for debit cards?"
CREDIT = "How long do refunds take for credit cards?"
HISTORY = (
    Turn(question=DEBIT, answer="> Refunds for debit cards take 5 to 7 days. [1]\n\n_Quoted from the documents._"),
)


@pytest.mark.parametrize(
    "question",
    [
        "and for credit cards?",
        "And for credit cards?",
        "for credit cards?",
        "What about credit cards?",
        "how about for credit cards?",
        "and credit cards?",
        "credit cards?",
        "Ok, and for credit cards",
    ],
)
def test_a_part_takes_the_place_of_the_one_that_it_corresponds_to(question: str) -> None:
    assert stand_alone(question, HISTORY) == CREDIT


@pytest.mark.parametrize(
    ("earlier", "question", "expected"),
    [
        (DEBIT, "and UPI?", "How long do refunds take for UPI?"),
        (DEBIT, "and in Europe?", "How long do refunds take for debit cards in Europe?"),
        ("What is the fee?", "and the limit?", "What is the limit?"),
        ("What does the Pro plan cost?", "and the Basic plan?", "What does the Basic plan cost?"),
    ],
)
def test_a_part_of_another_kind_finds_its_place(earlier: str, question: str, expected: str) -> None:
    assert stand_alone(question, (Turn(question=earlier, answer="5 days"),)) == expected


@pytest.mark.parametrize("question", ["why?", "Why is that?", "but why", "How come?", "Why does it take so long?"])
def test_why_asks_for_the_reason_of_the_earlier_answer(question: str) -> None:
    assert stand_alone(question, HISTORY) == f"Why: {DEBIT} Refunds for debit cards take 5 to 7 days."


@pytest.mark.parametrize(
    "question", ["Is it free?", "Do they cost anything?", "And who pays?", "how much?", "Is that all?"]
)
def test_a_question_that_points_back_takes_the_earlier_one_along(question: str) -> None:
    assert stand_alone(question, HISTORY) == f"{question} {DEBIT}"


@pytest.mark.parametrize(
    "question",
    [
        "What is the capital of France?",
        "How do I know that my refund arrived?",
        "Is there a fee for chargebacks?",
        "What documents does a merchant need to open an account?",
        "If a customer disputes a payment, how can they be refunded?",
        CREDIT,
    ],
)
def test_a_question_that_stands_alone_is_left_alone(question: str) -> None:
    assert stand_alone(question, HISTORY) == question


def test_without_earlier_turns_nothing_is_added() -> None:
    assert stand_alone("why?", ()) == "why?"


def test_a_chain_of_follow_ups_is_resolved_from_its_beginning() -> None:
    """The history holds the questions as they were asked."""
    history = (*HISTORY, Turn(question="and for credit cards?", answer="Refunds for credit cards take 3 days. [2]"))
    assert stand_alone("why?", history) == f"Why: {CREDIT} Refunds for credit cards take 3 days."
    history = (*history, Turn(question="why?", answer="Because banks post in batches. [1]"))
    assert stand_alone("and for UPI?", history) == "How long do refunds take for UPI?"


def test_an_answer_that_knew_nothing_gives_no_statement() -> None:
    assert stand_alone("why?", (Turn(question=DEBIT, answer="I don't know: nothing found."),)) == f"Why: {DEBIT}"


@dataclass
class ScriptedModel:
    pieces: tuple[Piece | Exception | None, ...]
    name: str = "model"
    prompts: list[Prompt] = field(default_factory=list[Prompt])

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        self.prompts.append(prompt)
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            if piece is None:
                await asyncio.Event().wait()
            else:
                yield piece


async def rewritten(*pieces: Piece | Exception | None) -> str:
    return await FollowUp(ScriptedModel(pieces), 0.1)("and for credit cards?", HISTORY)


async def test_a_model_is_asked_with_the_conversation_and_its_line_is_taken() -> None:
    model = ScriptedModel((Text('"How long are '), Text('credit refunds?"'), Final("stop")))
    assert await FollowUp(model, 5)("and for credit cards?", HISTORY) == "How long are credit refunds?"
    assert DEBIT in model.prompts[0].user
    assert "and for credit cards?" in model.prompts[0].user


@pytest.mark.parametrize(
    "pieces",
    [
        (TierUnavailableError(Failure.RATE_LIMITED, "no"),),
        (PermanentError("no"),),
        (None,),
        (Text("How long"),),
        (Text("How long"), Final("length")),
        (Final("refused"),),
        (Text("Sure!\nHere it is"), Final("stop")),
        (Text("x" * 501), Final("stop")),
    ],
    ids=["limited", "wrong", "silent", "cut", "too long for it", "refused", "chatty", "endless"],
)
async def test_whatever_goes_wrong_with_the_model_the_rule_answers(
    pieces: tuple[Piece | Exception | None, ...],
) -> None:
    assert await rewritten(*pieces) == CREDIT


async def test_without_a_model_the_rule_answers() -> None:
    assert await FollowUp(None, 1)("and for credit cards?", HISTORY) == CREDIT


async def test_a_first_question_is_not_taken_to_a_model() -> None:
    model = ScriptedModel((Text("other"), Final("stop")))
    assert await FollowUp(model, 1)(DEBIT, ()) == DEBIT
    assert not model.prompts
