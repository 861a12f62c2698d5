"""The contract check finds what would break a reader, and lets pass what would not."""

import json
from copy import deepcopy

import pytest

from sluice.messages import MESSAGES, Message, QuestionAsked
from tests.contract.check import FOLDER, breaks, check, schema_of


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.stream)
def test_every_message_keeps_its_contract(kind: type[Message]) -> None:
    assert check(kind, accept=False) == []


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.stream)
def test_every_message_comes_back_from_json_as_it_was_and_ignores_what_it_does_not_know(kind: type[Message]) -> None:
    example = json.loads((FOLDER / f"{kind.stream}.json").read_text())["example"]
    message = kind.model_validate({**example, "a_field_of_tomorrow": 1})
    assert kind.model_validate_json(message.model_dump_json()) == message
    assert message.asked == kind.model_validate_json(message.model_dump_json()).asked


def test_breaking_changes_are_found() -> None:
    old = schema_of(QuestionAsked)
    without, narrowed, required, elsewhere = (deepcopy(old) for _ in range(4))
    del without["properties"]["search_query"]
    narrowed["properties"]["question"]["type"] = "integer"
    required["required"].append("history")
    elsewhere["stream"] = "questions.asked.v9"
    for new in (without, narrowed, required, elsewhere):
        assert breaks(old, new)


def test_a_new_field_with_a_default_breaks_nobody() -> None:
    old = schema_of(QuestionAsked)
    new = deepcopy(old)
    new["properties"]["language"] = {"type": "string", "default": "en"}
    assert breaks(old, new) == []
