"""What the page does with the gateway, without a browser: signing in, chat, documents, corrections, logs."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.fake_gateway import FakePerson, name_number
from tests.support.page import PASSWORD, STAFF, Stage, Visitor, running_page, shown
from tests.support.problems import problem_of
from tests.support.waiting import until

PASSAGE = {"n": 1, "document_id": "d1", "title": "Refunds.pdf", "page": 3, "offset": 0, "access_level": "INTERNAL"}
PASSAGE |= {"score": 0.9, "text": "Refunds take seven days.", "fix": False}
SOURCES = ("sources", {"passages": [PASSAGE]})
DONE = ("done", {"answer_id": "a1", "tier": "gemini-2.5-pro", "finish_reason": "stop", "citations": [1], "usage": {}})


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running_page(tmp_path_factory.mktemp("page")) as running:
        yield running


@pytest.fixture
def ruth(stage: Stage) -> Visitor:
    stage.new_gateway()
    visitor = Visitor(stage.url)
    visitor.sign_in(STAFF)
    return visitor


def token(text: str, attempt: int = 1) -> tuple[str, dict[str, Any]]:
    return "token", {"text": text, "attempt": attempt}


def test_wrong_credentials_are_explained_and_the_address_is_kept(stage: Stage) -> None:
    stage.new_gateway()
    response = Visitor(stage.url).sign_in(STAFF, "wrong password")
    assert response.status_code == 401
    assert "The address or the password is wrong." in response.text
    assert STAFF in response.text
    assert "wrong password" not in response.text


def test_a_one_time_password_is_changed_at_the_first_sign_in(stage: Stage) -> None:
    stage.new_gateway().people.append(FakePerson("new@razorpay.com", one_time=True))
    visitor = Visitor(stage.url)
    asked = visitor.sign_in("new@razorpay.com")
    assert asked.status_code == 403
    assert 'name="new_password"' in asked.text
    assert visitor.sign_in("new@razorpay.com", new_password="another horse").status_code == 303
    assert Visitor(stage.url).sign_in("new@razorpay.com", "another horse").status_code == 303


def test_an_address_of_several_tenants_asks_for_the_tenant(stage: Stage) -> None:
    stage.new_gateway().people.append(FakePerson("two@razorpay.com", tenant="globex"))
    visitor = Visitor(stage.url)
    assert 'name="tenant"' in visitor.sign_in("two@razorpay.com").text
    assert visitor.sign_in("two@razorpay.com", PASSWORD, tenant="globex").status_code == 303


def test_signing_out_ends_the_session_at_the_gateway_too(ruth: Visitor, stage: Stage) -> None:
    assert ruth.http.post("/logout", data={"csrf": ruth.csrf()}).headers["location"] == "/login"
    assert f"token-{STAFF}" in stage.gateway.revoked
    assert ruth.http.get("/").status_code == 303


def test_a_session_that_the_gateway_ended_leads_back_to_the_sign_in(ruth: Visitor, stage: Stage) -> None:
    stage.gateway.revoked.add(f"token-{STAFF}")
    assert "data-signed-out" in shown(ruth.call("greet"))
    assert "data-signed-out" in shown(ruth.call("ask", "a question", ""))


def test_the_tabs_follow_the_rights(stage: Stage) -> None:
    stage.new_gateway()
    reader = Visitor(stage.url)
    reader.sign_in("eve@example.com")
    _, *parts = outputs(reader.call("greet"))
    assert [part["visible"] for part in parts] == [False] * 4


def test_an_answer_is_drawn_with_its_sources_and_who_gave_it(ruth: Visitor, stage: Stage) -> None:
    stage.gateway.events = [SOURCES, token("Seven "), token("days [1]."), DONE]
    told = shown(ruth.call("ask", "How long does a refund take?", ""))
    assert 'href=\\"#s1-1\\"' in told
    assert "<mark>Refunds take</mark>" in told
    assert "Answered by gemini-2.5-pro" in told


def test_a_follow_up_goes_into_the_same_conversation(ruth: Visitor, stage: Stage) -> None:
    stage.gateway.events = [SOURCES, token("Seven days [1]."), DONE]
    ruth.call("ask", "How long?", "")
    told = shown(ruth.call("ask", "And for cards?", "conversation-1"))
    assert [asked.get("conversation_id") for asked in stage.gateway.asked] == [None, "conversation-1"]
    assert "How long?" in told
    assert "s2-1" in told


def test_a_question_in_a_conversation_that_was_deleted_begins_a_new_one(ruth: Visitor, stage: Stage) -> None:
    stage.gateway.events = [token("Seven days."), DONE]
    assert "Seven days." in shown(ruth.call("ask", "How long?", "gone"))
    assert "conversation_id" not in stage.gateway.asked[0]


def test_a_conversation_is_there_again_after_a_reload(ruth: Visitor, stage: Stage) -> None:
    stage.gateway.events = [SOURCES, token("Seven days [1]."), DONE]
    ruth.call("ask", "How long?", "")
    reopened = shown(ruth.call("open", event_data={"id": "conversation-1"}))
    assert "How long?" in reopened
    assert 'id=\\"s1-1\\"' in reopened
    assert "How long?" in shown(ruth.call("list_conversations"))


def test_an_error_keeps_the_question_offers_a_retry_and_shows_no_sources(ruth: Visitor, stage: Stage) -> None:
    failure = problem_of("unavailable", 503, "No tier answered.", [{"field": "tier", "message": "all failed"}])
    stage.gateway.events = [SOURCES, token("Sev"), ("error", failure)]
    messages = ruth.call("ask", "How long?", "")
    frame = last_frame(messages)
    assert "No tier answered." in frame["live"]
    assert "tier: all failed" in frame["live"]
    assert "Refunds.pdf" not in frame["sources"]
    assert frame["question"] == "How long?"
    assert frame["retry"]["visible"] is True


def test_a_question_that_the_gateway_refuses_keeps_the_question(ruth: Visitor, stage: Stage) -> None:
    stage.gateway.refusals["/api/v1/chat"] = problem_of("too-many-requests", 429, "Wait a moment.")
    frame = last_frame(ruth.call("ask", "How long?", ""))
    assert "Wait a moment." in frame["live"]
    assert frame["question"] == "How long?"


def test_a_stream_that_breaks_off_is_an_error(ruth: Visitor, stage: Stage) -> None:
    stage.gateway.events = [token("Sev")]
    assert "ended before the answer did" in shown(ruth.call("ask", "How long?", ""))


async def test_stop_reaches_the_gateway(ruth: Visitor, stage: Stage) -> None:
    gateway = stage.gateway
    gateway.events, gateway.hold = [token("Sev")], threading.Event()
    event_id = ruth.join("ask", "How long?", "").json()["event_id"]
    reading = read_in_background(ruth)
    await until(lambda: gateway.asked, what="the question")
    await until(lambda: "Sev" in reading.text, what="the first token")
    body = {"session_hash": ruth.session_hash, "fn_index": ruth.function("ask"), "event_id": event_id}
    ruth.http.post("/gradio_api/cancel", json=body)
    await until(lambda: gateway.cancelled == ["request-1"], what="the cancellation")
    gateway.hold.set()


async def test_a_closed_tab_reaches_the_gateway(ruth: Visitor, stage: Stage) -> None:
    gateway = stage.gateway
    gateway.events, gateway.hold = [token("Sev")], threading.Event()
    ruth.join("ask", "How long?", "")
    with ruth.http.sse("/gradio_api/queue/data", params={"session_hash": ruth.session_hash}) as source:
        for event in source:
            if "Sev" in event.data:
                break
    await until(lambda: gateway.cancelled == ["request-1"], what="the cancellation")
    gateway.hold.set()


def test_tokens_are_merged_into_few_redraws(ruth: Visitor, stage: Stage) -> None:
    stage.gateway.events = [*(token(f"{n} ") for n in range(500)), DONE]
    messages = ruth.call("ask", "Count", "")
    assert len(messages) < 60
    assert "499" in last_frame(messages)["live"]


def test_an_upload_goes_through_as_it_is(ruth: Visitor, stage: Stage) -> None:
    files = [("files", ("a.txt", b"first")), ("files", ("b.txt", b"second"))]
    response = ruth.http.post(
        "/documents",
        files=files,
        data={"urls": "https://example.com/", "access_level": "EXTERNAL"},
        headers={"X-CSRF-Token": ruth.csrf()},
    )
    assert response.status_code == 202
    assert [job["name"] for job in response.json()["jobs"]] == ["a.txt", "b.txt", "https://example.com/"]
    upload = stage.gateway.uploads[0]
    assert upload["files"] == {"a.txt": b"first", "b.txt": b"second"}
    assert upload["access_level"] == "EXTERNAL"


def test_every_job_is_followed_to_its_end(ruth: Visitor, stage: Stage) -> None:
    good, bad = f"job-{name_number('good.pdf')}", f"job-{name_number('bad.pdf')}"
    stage.gateway.jobs = {
        good: [{"state": "embedding", "progress": {"done": 1, "total": 4}}, {"state": "done"}],
        bad: [{"state": "failed", "error": "The PDF is encrypted."}],
    }
    stage.gateway.documents = [{"id": "d1", "title": "good.pdf", "access_level": "INTERNAL", "state": "done"}]
    jobs = [{"job_id": good, "name": "good.pdf"}, {"job_id": bad, "name": "bad.pdf"}]
    told = shown(ruth.call("follow", event_data={"jobs": jobs}))
    assert "embedding 1 of 4" in told
    assert "failed: The PDF is encrypted." in told
    assert 'data-id=\\"d1\\"' in told


def test_a_job_that_waits_says_why(ruth: Visitor, stage: Stage) -> None:
    job_id = f"job-{name_number('slow.pdf')}"
    waiting = {"state": "delayed", "detail": "tried once, again at 12:03:00 UTC: the index does not answer"}
    waiting |= {"attempt": 2, "since": None, "due": "2026-01-01T12:03:00Z"}
    stage.gateway.jobs = {job_id: [{"state": "retrying", "waiting": waiting}, {"state": "done", "waiting": None}]}
    told = shown(ruth.call("follow", event_data={"jobs": [{"job_id": job_id, "name": "slow.pdf"}]}))
    assert "retrying: tried once, again at 12:03:00 UTC: the index does not answer" in told


def test_a_document_is_deleted(ruth: Visitor, stage: Stage) -> None:
    stage.gateway.documents = [{"id": "d1", "title": "old.pdf", "access_level": "INTERNAL", "state": "done"}]
    assert "old.pdf" not in shown(ruth.call("delete", event_data={"id": "d1"}))
    assert stage.gateway.documents == []


def test_a_correction_is_saved_and_says_when_it_takes_effect(ruth: Visitor, stage: Stage) -> None:
    assert "takes effect" in shown(ruth.call("save", "How long?", "Five days.", "INTERNAL"))
    assert stage.gateway.fixes == [{"question": "How long?", "answer": "Five days.", "access_level": "INTERNAL"}]


def test_a_log_search_shows_lines_counts_and_warnings(ruth: Visitor, stage: Stage) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60))
    hit = {"time": now, "level": "ERROR", "service": "gateway", "event": "chat.failed", "request_id": "r-77"}
    stage.gateway.log_page = {"total": 1, "took_ms": 3, "hits": [hit], "warnings": ["incomplete"]}
    told = shown(ruth.call("search", "level:ERROR", "Last hour", "", ""))
    assert stage.gateway.searches[0]["query"] == "level:ERROR"
    assert all(part in told for part in ("chat.failed", "r-77", "1 lines", "incomplete", 'class=\\"bars\\"'))


def test_the_histogram_counts_every_hit_if_the_gateway_does(ruth: Visitor, stage: Stage) -> None:
    minute = time.strftime("%Y-%m-%dT%H:%M:00Z", time.gmtime(time.time() - 600))
    counted = [{"time": minute, "count": 4711, "levels": {"INFO": 4711}}]
    stage.gateway.log_page = {"total": 4711, "took_ms": 3, "hits": [], "warnings": [], "histogram": counted}
    assert ": 4711 lines" in shown(ruth.call("search", "*", "Last hour", "", ""))
    assert stage.gateway.searches[0]["interval"] == 60


def test_an_answer_in_an_unknown_shape_is_an_error_and_no_blank_page(ruth: Visitor, stage: Stage) -> None:
    stage.gateway.log_page = {"total": "many"}
    assert "shape that this page does not know" in shown(ruth.call("search", "*", "Last hour", "", ""))


def test_a_turn_without_an_answer_says_why(ruth: Visitor, stage: Stage) -> None:
    turns = [
        {"question": "How long?", "answer": None, "error": "No tier answered."},
        {"question": "Why?", "answer": None},
    ]
    stage.gateway.conversations["c1"] = {"id": "c1", "title": "How long?", "turns": turns}
    told = shown(ruth.call("open", event_data={"id": "c1"}))
    assert "No tier answered." in told
    assert "was not answered" in told


def test_a_query_that_cannot_be_read_is_explained_and_leaves_no_old_lines(ruth: Visitor, stage: Stage) -> None:
    fields = [{"field": "query", "message": "expected a term at 7"}]
    stage.gateway.refusals["/api/v1/logs/search"] = problem_of("invalid-query", 422, "The query is not Lucene.", fields)
    summary, histogram, lines = outputs(ruth.call("search", "level:(", "Last hour", "", ""))
    assert "expected a term at 7" in summary
    assert (histogram, lines) == ("", "")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_the_operations_answer_without_a_session(stage: Stage, path: str) -> None:
    stage.new_gateway()
    assert Visitor(stage.url).http.get(path).status_code == 200


def outputs(messages: list[dict[str, Any]]) -> list[Any]:
    """The outputs of a function that answers once."""
    return next(message["output"]["data"] for message in messages if message["msg"] == "process_completed")


def last_frame(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """What stands in each output of the chat at the end: later messages say only what differs from the one before."""
    names = ["past", "live", "sources", "status", "question", "conversation", "examples", "send", "stop", "retry"]
    frame: list[Any] = []
    for message in messages:
        data = (message.get("output") or {}).get("data") or []
        first = not frame
        if first:
            frame = list(data)
            continue
        for index, part in enumerate(data):
            frame[index] = patched(frame[index], part)
    return dict(zip(names, frame, strict=False))


def patched(value: Any, part: Any) -> Any:
    """Gradio sends a list of edits in place of a value: replace, append, add, delete."""
    if not isinstance(part, list):
        return value if part == {"__type__": "update"} else part
    for action, path, new in part:
        if not path:
            value = value + new if action == "append" else new
        elif action == "delete":
            value = {name: kept for name, kept in value.items() if name != path[0]}
        else:
            value = {**(value if isinstance(value, dict) else {}), path[0]: new}
    return value


class Reading:
    text = ""


def read_in_background(visitor: Visitor) -> Reading:
    reading = Reading()

    def read() -> None:
        with visitor.http.sse("/gradio_api/queue/data", params={"session_hash": visitor.session_hash}) as source:
            for event in source:
                reading.text += event.data

    threading.Thread(target=read, daemon=True).start()
    return reading


GUIDE = {"id": "d1", "title": "Guide", "name": "guide.md", "access_level": "INTERNAL", "state": "done"}
WHY = {"person": "person-eve@example.com", "clearance": "EXTERNAL", "document": "d1", "access_level": "INTERNAL"}
WHY |= {"may_see": False, "rule": "level: it is INTERNAL, and theirs is EXTERNAL", "given": [], "changes": []}


def test_why_somebody_may_not_see_a_document_is_told_by_address_and_name(ruth: Visitor, stage: Stage) -> None:
    stage.gateway.documents, stage.gateway.whys = [GUIDE], {"d1": WHY}
    told = shown(ruth.call("explain", "eve@example.com", "guide"))
    assert "It is INTERNAL, and theirs is EXTERNAL." in told
    assert stage.gateway.explained == [{"person": "person-eve@example.com", "document": "d1"}]


def test_of_several_documents_one_is_chosen(ruth: Visitor, stage: Stage) -> None:
    stage.gateway.documents = [GUIDE, GUIDE | {"id": "d2", "title": "Guide 2", "name": "2.md"}]
    stage.gateway.whys = {"d1": WHY, "d2": WHY}
    told = shown(ruth.call("explain", "eve@example.com", "guid"))
    assert 'data-id=\\"d2\\"' in told
    assert stage.gateway.explained == []
    ruth.call("choose", "eve@example.com", event_data={"id": "d2"})
    ruth.call("explain", "eve@example.com", "Guide")
    assert [query["document"] for query in stage.gateway.explained] == ["d2", "d1"], "the one that is named just so"


def test_an_id_that_is_no_documents_is_a_passages(ruth: Visitor, stage: Stage) -> None:
    stage.gateway.whys = {"passage chunk-1": WHY}
    assert "It is INTERNAL" in shown(ruth.call("explain", "p1", "chunk-1"))
    queries = [{"person": "p1", "document": "chunk-1"}, {"person": "p1", "passage": "chunk-1"}]
    assert stage.gateway.explained == queries


@pytest.mark.parametrize(
    ("person", "source", "said"),
    [
        ("stranger@example.com", "d1", "Nobody of your organisation has this address."),
        ("two words", "d1", "e-mail address or id"),
        ("", "d1", "e-mail address or id"),
        ("p1", "", "id of a passage"),
        ("p1", "../people", "There is no document of this name"),
        ("p1", "gone", "there is no such document or passage"),
    ],
)
def test_what_cannot_be_explained_says_why(ruth: Visitor, stage: Stage, person: str, source: str, said: str) -> None:
    assert said in shown(ruth.call("explain", person, source))
