"""What the leak self-test takes for a leak, and what it does to a stolen message."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from sluice.access import Level
from sluice.cli.selftest.askers import Asker
from sluice.cli.selftest.forging import changed, forgeries
from sluice.cli.selftest.holdings import Canary, Thing
from sluice.cli.selftest.record import CannotTryError, Record
from sluice.cli.selftest.run import Report
from sluice.cli.selftest.stage import Ends, Stage
from sluice.cli.selftest.ways import WAYS, Way
from sluice.errors import InvalidPassportError, TransientError
from sluice.messages import QuestionAsked
from tests.support.identity import Office

SECRET = Canary(tenant="home", level=Level.INTERNAL, place="document", topic="wine cellar")
OPEN = Canary(tenant="home", level=Level.EXTERNAL, place="document", topic="north gate")
DOCUMENT = Thing(tenant="home", level=Level.INTERNAL, parameter="document_id", id="d1")
Answers = Callable[[httpx2.Request], httpx2.Response]


def asker(name: str, answers: Answers, **values: Any) -> Asker:
    transport = httpx2.MockTransport(answers)
    return Asker(name=name, http=httpx2.Client(base_url="http://gateway", transport=transport), **values)


def stage(answers: Answers) -> Stage:
    host = asker("INTERNAL admin", answers, tenant="home", clearance=Level.INTERNAL, chats=True)
    neighbour = asker("neighbour", answers, tenant="other", clearance=Level.INTERNAL, chats=True)
    reader = asker("EXTERNAL reader", answers, tenant="home", clearance=Level.EXTERNAL, chats=True)
    askers = [host, neighbour, reader, asker("operator", answers)]
    return Stage(host=host, neighbour=neighbour, askers=askers, canaries=[SECRET, OPEN], things=[DOCUMENT])


def way(name: str) -> Way:
    return next(way for way in WAYS if way.name == name)


def says(status: int, text: str = "", **headers: str) -> Answers:
    return lambda _: httpx2.Response(status, text=text, headers=headers)


def test_who_may_not_have_a_sentence_and_is_given_it_is_told_with_the_way() -> None:
    record = way("chat").tried(stage(says(200, f"... {SECRET.word} ...")))
    assert {sighting.asker for sighting in record.seen} == {"neighbour", "EXTERNAL reader", "operator"}
    assert {sighting.call for sighting in record.seen} == {"POST /api/v1/chat"}
    assert not Report([record]).clean


def test_what_an_asker_may_have_is_no_leak() -> None:
    record = way("chat").tried(stage(says(200, OPEN.word)))
    assert {sighting.asker for sighting in record.seen} == {"neighbour", "operator"}


def test_a_sentence_in_a_header_or_a_refusal_is_seen_too() -> None:
    record = way("documents").tried(stage(says(404, "not found", **{"x-name": SECRET.word})))
    assert {sighting.asker for sighting in record.seen} == {"neighbour", "EXTERNAL reader", "operator"}
    assert record.trespasses == []


def test_an_id_of_somebody_elses_that_is_taken_is_told_also_when_nothing_is_shown() -> None:
    record = way("documents").tried(stage(says(204)))
    assert {(t.asker, t.call.split()[0]) for t in record.trespasses} >= {
        (name, method) for name in ("neighbour", "EXTERNAL reader", "operator") for method in ("GET", "DELETE")
    }
    assert Report([record]).canaries_seen == 0
    assert not Report([record]).clean


@pytest.mark.parametrize("answers", [says(503), lambda _: (_ for _ in ()).throw(httpx2.ConnectError("away"))])
def test_a_server_that_breaks_or_is_away_has_shown_nothing(answers: Answers) -> None:
    record = way("documents").tried(stage(answers))
    assert record.untried
    assert not Report([record]).clean


def test_a_way_that_cannot_be_tried_says_why() -> None:
    def refuse(_: Stage, __: Record) -> None:
        raise CannotTryError("no --redis-url was given")

    for attempt in (refuse, lambda _, __: None):
        assert Way("untried", attempt).tried(stage(says(200))).untried


def test_what_was_planted_and_is_gone_is_no_clean_end() -> None:
    assert Report([]).clean
    assert not Report([], lost=["INTERNAL of home"]).clean


@pytest.mark.parametrize(("first", "told"), [(ValueError("the first"), "the first"), (None, "DELETE /2")])
def test_what_cannot_be_undone_keeps_nothing_else_from_it_and_hides_no_earlier_error(
    first: Exception | None, told: str
) -> None:
    asked: list[str] = []

    def answers(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        if request.url.path == "/2":
            raise httpx2.ConnectError("away")
        return httpx2.Response(404 if request.url.path == "/1" else 503)

    def test() -> None:
        with Ends() as ends:
            for path in ("/1", "/2", "/3") if first else ("/1", "/2"):
                ends.later(asker("admin", answers), "DELETE", path)
            if first:
                raise first

    with pytest.raises((ValueError, TransientError), match=told):
        test()
    assert asked[-2:] == ["/2", "/1"]


def test_only_the_operators_own_calls_are_left_to_the_operator() -> None:
    asked: list[str] = []

    def answers(request: httpx2.Request) -> httpx2.Response:
        asked.append(f"{request.method} {request.url.path}")
        return httpx2.Response(401)

    way("dead letters").tried(stage(answers))
    assert asked.count("DELETE /api/v1/dead-letters") == 3
    assert asked.count("GET /api/v1/dead-letters") == 4


def test_no_forgery_has_a_passport_that_is_good(office: Office) -> None:
    """But for those that leave it as it was, which is good for one thing alone."""
    question = office.message(QuestionAsked, question="q", search_query="q")
    stolen = json.loads(office.body(question))
    made = dict(forgeries(stolen, tenant="home", request_id="r", question="What?"))
    for what, body in made.items():
        if body["passport"] == question.passport:
            continue
        with pytest.raises(InvalidPassportError):
            office.verifier.verify(body["passport"], stream=QuestionAsked.stream, job="r", asked=question.asked)
        assert "passport" in what
    assert len({body["passport"] for body in made.values()}) == 4
    raised = changed(question.passport, {"clearance": "INTERNAL"})
    assert raised != question.passport
