"""Questions and answers: the events, the whole answer, resuming, cancelling."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gateway.models import turns
from gateway.routes.streaming import event_stream
from sluice.access import Level
from sluice.messages import QuestionAsked, QuestionFollowedUp
from sluice.replies import CancelledByClientError, Event
from tests.support.gateway import (
    CHAT,
    RunningGateway,
    Workers,
    all_events,
    completed,
    events_of,
    gateway_settings,
    running_gateway,
)
from tests.support.identity import Office
from tests.support.servers import RedisServer
from tests.support.waiting import until

JSON = {"Accept": "application/json"}


async def test_a_question_is_streamed_kept_and_then_done(any_gateway: RunningGateway, workers: Workers) -> None:
    """On SQLite and on PostgreSQL."""
    async with await any_gateway.admin() as admin:
        asking = asyncio.create_task(all_events(admin, "How long is the warranty?"))
        asked = await workers.take(QuestionAsked)
        await workers.answer(asked)
        events = await asking
        assert [name for name, _, _ in events] == ["accepted", "sources", "token", "token", "token", "done"]
        accepted, done = events[0][1], events[-1][1]
        assert accepted["request_id"] == asked.request_id == done["answer_id"]
        assert done["tier"] == "extractive"
        assert (done["finish_reason"], done["citations"]) == ("stop", [1])
        ids = [event_id for _, _, event_id in events]
        assert len(set(ids)) == len(ids)
        conversation = (await admin.get(f"{CHAT}/conversations/{accepted['conversation_id']}")).json()
    [turn] = conversation["turns"]
    assert turn["answer"] == "Forty days [1]."
    assert turn["sources"][0] | {"score": 0} == {
        "n": 1,
        "document_id": "document-1",
        "title": "Guide",
        "access_level": "EXTERNAL",
        "text": "Forty days.",
        "page": 3,
        "offset": 0,
        "score": 0,
        "fix": False,
    }
    assert conversation["title"] == "How long is the warranty?"


async def test_with_accept_json_the_whole_answer_comes_at_once(gateway: RunningGateway, workers: Workers) -> None:
    async with await gateway.admin() as admin:
        asking = asyncio.create_task(admin.post(CHAT, json={"question": "Why?"}, headers=JSON))
        asked = await workers.take(QuestionAsked)
        await workers.answer(asked, "Because [1].")
        answer = (await asking).json()
    assert answer["answer"] == "Because [1]."
    assert answer["answer_id"] == asked.request_id
    assert answer["citations"] == [1]
    assert answer["sources"][0]["title"] == "Guide"


async def test_the_error_of_a_worker_ends_the_stream_and_keeps_its_status(
    gateway: RunningGateway, workers: Workers
) -> None:
    async with await gateway.admin() as admin:
        asking = asyncio.create_task(admin.post(CHAT, json={"question": "Why?"}, headers=JSON))
        asked = await workers.take(QuestionAsked)
        problem = {"type": "urn:sluice:problem:x", "title": "X", "status": 504, "detail": "too slow", "errors": []}
        await workers.broker.replies.finish(asked.tenant, Level.INTERNAL, asked.request_id, Event("error", problem))
        answer = await asking
        assert answer.status_code == 504
        assert answer.json()["detail"] == "too slow"
        [listed] = (await admin.get(f"{CHAT}/conversations")).json()["items"]
        [turn] = (await admin.get(f"{CHAT}/conversations/{listed['id']}")).json()["turns"]
    assert (turn["answer"], turn["error"]) == (None, "too slow")


async def test_questions_travel_in_the_lane_of_their_asker_with_a_passport_that_says_so(
    gateway: RunningGateway, workers: Workers, office: Office
) -> None:
    customer = await gateway.person("customer@example.com", "read")
    async with customer:
        asking = asyncio.create_task(all_events(customer, "What is public?"))
        asked = await workers.take(QuestionAsked, Level.EXTERNAL)
        passport = office.verifier.verify(
            asked.passport, stream="questions.grounded.v1", job=asked.request_id, asked=asked.asked
        )
        await workers.answer(asked)
        await asking
    assert passport.clearance is Level.EXTERNAL
    assert passport.tenant == asked.tenant == "default"
    assert passport.rights == {"read"}
    assert set(passport.streams) == {
        "questions.asked.v1",
        "questions.followed-up.v1",
        "questions.grounded.v1",
        "answers.completed.v1",
        "audit.retrievals.v1",
    }
    assert 0 < (passport.expires_at - asked.deadline).total_seconds() <= 600


async def test_an_answer_delivered_twice_is_kept_once_and_the_first_one_stays(
    gateway: RunningGateway, workers: Workers
) -> None:
    async with await gateway.admin() as admin:
        asking = asyncio.create_task(all_events(admin, "Why?"))
        asked = await workers.take(QuestionAsked)
        await workers.answer(asked, "First [1].")
        events = await asking
        again = completed(asked, "Second.", level=Level.INTERNAL).model_copy(update={"message_id": "another"})
        await workers.broker.publish(again)
        await until(lambda: _handled(workers), what="the second copy")
        path = f"{CHAT}/conversations/{events[0][1]['conversation_id']}"
        [turn] = (await admin.get(path)).json()["turns"]
    assert turn["answer"] == "First [1]."
    assert turn["level"] == "EXTERNAL"
    assert events[-1][0] == "done"


async def _handled(workers: Workers) -> bool:
    return await workers.broker.redis.xlen("answers.completed.v1") == 0


async def test_a_stream_is_resumed_after_the_last_event_that_came(gateway: RunningGateway, workers: Workers) -> None:
    async with await gateway.admin() as admin:
        async with admin.stream("POST", CHAT, json={"question": "Why?"}) as answer, aclosing(events_of(answer)) as seen:
            accepted = await anext(seen)
            asked = await workers.take(QuestionAsked)
            writer = workers.broker.replies.writer(asked.tenant, Level.INTERNAL, asked.request_id, 1)
            await writer.append(Event("token", {"text": "one"}), Event("token", {"text": "two"}))
            one = await anext(seen)
        path = f"{CHAT}/requests/{asked.request_id}/events"
        async with admin.stream("GET", path, headers={"Last-Event-ID": one[2]}) as resumed:
            await workers.broker.publish(completed(asked, "one two"))
            events = [event async for event in events_of(resumed)]
        assert [(name, data.get("text")) for name, data, _ in events] == [("token", "two"), ("done", None)]
        assert (await admin.get(path, headers={"Last-Event-ID": events[-1][2]})).status_code == 204
        from_start = [event async for event in events_of(await admin.get(path, headers={"Last-Event-ID": accepted[2]}))]
        assert [name for name, _, _ in from_start] == ["token", "token", "done"]
        for never_given in ("x", "4294967296-0", "9999999999-0"):
            assert (await admin.get(path, headers={"Last-Event-ID": never_given})).status_code == 422


@pytest.fixture
async def patient(tmp_path: Path, empty_valkey: RedisServer, office: Office) -> AsyncGenerator[RunningGateway]:
    """A gateway whose grace a slow machine does not use up."""
    settings = gateway_settings(tmp_path, empty_valkey.url, resume_grace_seconds=3)
    async with running_gateway(settings, office) as running:
        yield running


async def test_a_client_that_comes_back_within_the_grace_keeps_its_work_alive(
    patient: RunningGateway, workers: Workers
) -> None:
    gateway = patient
    async with await gateway.admin() as admin:
        async with admin.stream("POST", CHAT, json={"question": "Why?"}) as answer:
            await anext(events_of(answer))
            asked = await workers.take(QuestionAsked)
        path = f"{CHAT}/requests/{asked.request_id}/events"
        async with admin.stream("GET", path) as resumed:
            await asyncio.sleep(1.5 * gateway.settings.resume_grace_seconds)  # the time itself is what is tested
            assert not await workers.broker.replies.cancelled(Level.INTERNAL, asked.request_id)
            await workers.answer(asked)
            assert [name async for name, _, _ in events_of(resumed)][-1] == "done"


async def test_a_client_that_comes_back_to_another_gateway_keeps_its_work_alive_until_it_leaves_that_one(
    patient: RunningGateway, workers: Workers, tmp_path: Path, empty_valkey: RedisServer, office: Office
) -> None:
    settings = gateway_settings(tmp_path, empty_valkey.url)
    async with (
        running_gateway(settings, office) as other,
        await patient.admin() as admin,
        await other.admin() as same_person,
    ):
        async with admin.stream("POST", CHAT, json={"question": "Why?"}) as answer:
            await anext(events_of(answer))
            asked = await workers.take(QuestionAsked)
        async with (
            same_person.stream("GET", f"{CHAT}/requests/{asked.request_id}/events") as resumed,
            aclosing(events_of(resumed)) as events,
        ):
            await anext(events)
            await asyncio.sleep(1.5 * patient.settings.resume_grace_seconds)  # the time itself is what is tested
            assert not await workers.broker.replies.cancelled(Level.INTERNAL, asked.request_id)
        await until(lambda: workers.broker.replies.cancelled(Level.INTERNAL, asked.request_id), what="the cancellation")


async def test_a_stream_ends_when_its_reader_is_suspended_and_so_does_the_work(
    gateway: RunningGateway, workers: Workers
) -> None:
    person = await gateway.person("leaver@razorpay.com", "read")
    async with (
        await gateway.admin() as admin,
        person,
        person.stream("POST", CHAT, json={"question": "Why?"}) as answer,
        aclosing(events_of(answer)) as events,
    ):
        me = (await person.get("/api/v1/me")).json()["id"]
        asked = await workers.take(QuestionAsked)
        assert (await anext(events))[0] == "accepted"
        await admin.patch(f"/api/v1/people/{me}", json={"suspended": True})
        telling = asyncio.create_task(_go_on(workers, asked))
        told = [event async for event in events]
        await telling
    assert told[-1][0] == "error"
    assert told[-1][1]["type"] == "urn:sluice:problem:not-signed-in"


async def _go_on(workers: Workers, asked: QuestionAsked) -> None:
    """Writes tokens until that is cancelled, for 20 s at most."""
    writer = workers.broker.replies.writer(asked.tenant, Level.INTERNAL, asked.request_id, 1)
    with suppress(CancelledByClientError):
        for _ in range(200):
            await writer.append(Event("token", {"text": "more ", "attempt": 1}))
            await asyncio.sleep(0.1)
        raise AssertionError("nobody cancelled the work")


async def test_work_is_cancelled_when_the_client_of_a_stream_stays_away(
    patient: RunningGateway, workers: Workers
) -> None:
    async with await patient.admin() as admin:
        async with admin.stream("POST", CHAT, json={"question": "Why?"}) as answer:
            await anext(events_of(answer))
            asked = await workers.take(QuestionAsked)
        assert not await workers.broker.replies.cancelled(Level.INTERNAL, asked.request_id), "the grace is kept"
        await until(lambda: workers.broker.replies.cancelled(Level.INTERNAL, asked.request_id), what="the cancellation")


async def test_work_is_cancelled_at_once_when_the_client_of_a_whole_answer_goes(
    tmp_path: Any, empty_valkey: RedisServer, office: Office, workers: Workers
) -> None:
    settings = gateway_settings(tmp_path, empty_valkey.url, resume_grace_seconds=60)
    async with running_gateway(settings, office) as gateway, await gateway.admin() as admin:
        asking = asyncio.create_task(admin.post(CHAT, json={"question": "Why?"}, headers=JSON))
        asked = await workers.take(QuestionAsked)
        asking.cancel()
        await until(lambda: workers.broker.replies.cancelled(Level.INTERNAL, asked.request_id), what="the cancellation")


async def test_a_finished_answer_is_not_cancelled_by_its_client_leaving(
    gateway: RunningGateway, workers: Workers
) -> None:
    async with await gateway.admin() as admin:
        asking = asyncio.create_task(all_events(admin, "Why?"))
        asked = await workers.take(QuestionAsked)
        await workers.answer(asked)
        await asking
    await asyncio.sleep(1.5 * gateway.settings.resume_grace_seconds)  # the time itself is what is tested
    assert not await workers.broker.replies.cancelled(Level.INTERNAL, asked.request_id)


async def test_only_the_owner_cancels_resumes_and_rates(gateway: RunningGateway, workers: Workers) -> None:
    """case 6: another's chat is not found, be it a colleague's or an admin's of another tenant."""
    await gateway.add_tenant("acme")
    others = [
        await gateway.person("colleague@razorpay.com", "read", "admin"),
        await gateway.person("admin@acme.com", "read", "admin", tenant="acme"),
    ]
    async with (
        await gateway.admin() as admin,
        admin.stream("POST", CHAT, json={"question": "Why?"}) as answer,
        aclosing(events_of(answer)) as events,
    ):
        await anext(events)
        asked = await workers.take(QuestionAsked)
        for person in others:
            async with person:
                for request_id in (asked.request_id, "0" * 32):
                    answers = [
                        await person.delete(f"{CHAT}/requests/{request_id}"),
                        await person.get(f"{CHAT}/requests/{request_id}/events"),
                        await person.post(f"{CHAT}/answers/{request_id}/feedback", json={"verdict": "up"}),
                    ]
                    assert [a.status_code for a in answers] == [404] * 3
                    assert {a.json()["detail"] for a in answers} == {"there is no such request"}
        assert not await workers.broker.replies.cancelled(Level.INTERNAL, asked.request_id)
        async with await gateway.admin() as same_person:
            assert (await same_person.delete(f"{CHAT}/requests/{asked.request_id}")).status_code == 204
        assert await workers.broker.replies.cancelled(Level.INTERNAL, asked.request_id)


async def test_a_question_that_nobody_answers_in_time_ends_in_an_error(
    tmp_path: Any, empty_valkey: RedisServer, office: Office
) -> None:
    settings = gateway_settings(tmp_path, empty_valkey.url, question_deadline_seconds=0.2)
    async with running_gateway(settings, office) as gateway, await gateway.admin() as admin:
        events = await all_events(admin, "Is anybody there?")
    assert [name for name, _, _ in events] == ["accepted", "error"]
    assert events[-1][1]["type"] == "urn:sluice:problem:deadline-exceeded"


async def test_a_silent_stream_has_heartbeats(tmp_path: Any, empty_valkey: RedisServer, office: Office) -> None:
    settings = gateway_settings(tmp_path, empty_valkey.url, heartbeat_seconds=0.1)
    async with running_gateway(settings, office) as gateway, await gateway.admin() as admin:
        asking = admin.stream("POST", CHAT, json={"question": "Why?"})
        async with asking as answer, aclosing(events_of(answer)) as events:
            assert answer.headers["content-type"].startswith("text/event-stream")
            names = [(await anext(events))[0] for _ in range(3)]
    assert names == ["accepted", ":", ":"]


async def test_an_answer_is_told_again_from_what_was_kept_when_the_reply_log_is_gone(
    gateway: RunningGateway, workers: Workers
) -> None:
    async with await gateway.admin() as admin:
        asking = asyncio.create_task(all_events(admin, "Why?"))
        asked = await workers.take(QuestionAsked)
        await workers.answer(asked)
        await asking
        for key in await workers.broker.redis.keys("reply:*"):
            await workers.broker.redis.delete(key)
        answer = await admin.get(f"{CHAT}/requests/{asked.request_id}/events")
        events = [event async for event in events_of(answer)]
    assert [name for name, _, _ in events] == ["accepted", "sources", "token", "done"]
    assert events[2][1]["text"] == "Forty days [1]."


async def test_a_follow_up_carries_the_last_six_turns_oldest_first(gateway: RunningGateway, workers: Workers) -> None:
    async with await gateway.admin() as admin:
        conversation: dict[str, str] = {}
        for number in range(8):
            asking = asyncio.create_task(all_events(admin, f"Question {number}?", **conversation))
            kind = QuestionFollowedUp if number else QuestionAsked
            asked = await workers.take(kind)
            await workers.answer(asked, f"Answer {number}.")
            conversation = {"conversation_id": (await asking)[0][1]["conversation_id"]}
    assert isinstance(asked, QuestionFollowedUp)
    assert [turn.question for turn in asked.history] == [f"Question {number}?" for number in range(1, 7)]
    assert asked.history[-1].answer == "Answer 6."


_REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"question": ""}, "question"),
    ({"question": "   "}, "question"),
    ({"question": "x" * 4001}, "question"),
    ({"question": "a\0b"}, "question"),
    ({"question": 7}, "question"),
    ({}, "question"),
    ({"question": "Why?", "access_level": "INTERNAL"}, "access_level"),
    ({"question": "Why?", "tenant": "acme"}, "tenant"),
    ({"question": "Why?", "filter": {"access_level": "INTERNAL"}}, "filter"),
    ({"question": "Why?", "collection": "x"}, "collection"),
    ({"question": "Why?", "conversation_id": "a/b"}, "conversation_id"),
]


async def test_a_question_names_no_filter_level_or_tenant(gateway: RunningGateway) -> None:
    """cases 2 and 5: refused before anything is kept or published."""
    async with await gateway.admin() as admin:
        for body, field in _REFUSED:
            answer = await admin.post(CHAT, json=body)
            assert answer.status_code == 422, body
            assert answer.json()["errors"][0]["field"] == field
    async with gateway.adapters.database.read() as connection:
        assert (await connection.execute(select(turns))).first() is None


async def test_asking_needs_the_right_to_read(gateway: RunningGateway) -> None:
    person = await gateway.person("writer@razorpay.com", "upload")
    async with person:
        answer = await person.post(CHAT, json={"question": "Why?"})
    assert answer.status_code == 403
    assert answer.json()["type"] == "urn:sluice:problem:access-denied"


async def test_events_that_are_there_at_once_go_out_together_and_in_order() -> None:
    async def events() -> AsyncGenerator[Event]:
        for number in range(5):
            yield Event("token", {"text": str(number)}, f"1-{number}", more=number not in (2, 4))

    pieces = [bytes(piece).decode() async for piece in event_stream(events(), 60).body_iterator]
    assert [piece.count("event: token") for piece in pieces] == [3, 2]
    assert re.findall(r"id: 1-(\d)", "".join(pieces)) == list("01234")
