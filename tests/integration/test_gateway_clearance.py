"""What a person is shown after their clearance, or the levels of what their answers rest on, has changed."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import httpx2
from sqlalchemy import update

from gateway.models import documents, people
from sluice.access import Level
from sluice.messages import (
    DocumentProgress,
    DocumentSubmitted,
    JobState,
    Passage,
    QuestionAsked,
    QuestionFollowedUp,
)
from sluice.replies import Event
from tests.support.gateway import CHAT, RunningGateway, Workers, all_events, completed, events_of
from tests.support.waiting import until

DOCUMENTS = "/api/v1/knowledge/documents"
JSON = {"Accept": "application/json"}
SECRET = "the vault's code is zorilla"


async def _becomes_external(gateway: RunningGateway, email: str) -> None:
    async with gateway.adapters.database.write() as connection:
        await connection.execute(update(people).where(people.c.email == email).values(email_verified=False))


async def _give_level(gateway: RunningGateway, document_id: str, level: Level) -> None:
    async with gateway.adapters.database.write() as connection:
        await connection.execute(update(documents).where(documents.c.id == document_id).values(access_level=level))


async def _public_document(admin: httpx2.AsyncClient, workers: Workers, name: str) -> str:
    """The id of an EXTERNAL document that is indexed."""
    files: list[Any] = [("files", (name, name.encode())), ("access_level", (None, "EXTERNAL"))]
    [job] = (await admin.post(DOCUMENTS, files=files)).json()["jobs"]
    submitted = await workers.take(DocumentSubmitted)
    fields = {"document": submitted.document, "state": JobState.DONE, "chunk_count": 1}
    await workers.broker.publish(submitted.follow(DocumentProgress, "done", **fields))
    path = f"{DOCUMENTS}/{job['document_id']}"

    async def indexed() -> bool:
        return (await admin.get(path)).json()["state"] == "done"

    await until(indexed, seconds=30, what="the document")
    return job["document_id"]


def _passage(document_id: str, level: Level = Level.EXTERNAL) -> Passage:
    return Passage(chunk_id="c", document_id=document_id, title="Guide", access_level=level, text="Forty days.")


@dataclass
class Conversation:
    """One person's, with what the workers answer."""

    person: httpx2.AsyncClient
    workers: Workers
    lane: Level
    id: str | None = None

    async def ask(self, question: str, text: str, *documents: str, level: Level = Level.EXTERNAL) -> Any:
        """The question as it was sent; it is answered from these documents."""
        body = {"conversation_id": self.id} if self.id else {}
        asking = asyncio.create_task(all_events(self.person, question, **body))
        asked: Any = await self.workers.take(QuestionFollowedUp if self.id else QuestionAsked, self.lane)
        passages = tuple(_passage(document, level) for document in documents)
        writer = self.workers.broker.replies.writer(asked.tenant, self.lane, asked.request_id, 1)
        await writer.append(Event("sources", {"passages": [p.model_dump(mode="json") for p in passages]}))
        await writer.append(Event("token", {"text": text, "attempt": 1}))
        await self.workers.broker.publish(completed(asked, text, level=level, passages=passages))
        self.id = (await asking)[0][1]["conversation_id"]
        return asked

    async def shown(self) -> dict[str, Any]:
        return (await self.person.get(f"{CHAT}/conversations/{self.id}")).json()


async def test_who_becomes_external_is_shown_nothing_that_they_asked_as_internal(
    gateway: RunningGateway, workers: Workers
) -> None:
    """Neither what rests on INTERNAL nor what was asked with that clearance: it is told that there was something."""
    person = await gateway.person("mover@razorpay.com", "read")
    async with person:
        talk = Conversation(person, workers, Level.INTERNAL)
        public = await talk.ask(f"Is it public that {SECRET}?", f"I do not know that {SECRET}.")
        secret = await talk.ask("What is it?", SECRET, "d", level=Level.INTERNAL)
        await _becomes_external(gateway, "mover@razorpay.com")
        shown = await talk.shown()
        assert [turn["id"] for turn in shown["turns"]] == [public.request_id, secret.request_id]
        assert all(set(turn) == {"id", "created_at", "withheld"} for turn in shown["turns"])
        assert all("clearance" in turn["withheld"] for turn in shown["turns"])
        assert (shown["title"], shown["title_withheld"], shown["withheld"]) == ("", True, 2)
        listed = await person.get(f"{CHAT}/conversations")
        assert "zorilla" not in listed.text + str(shown)
        for asked in (public, secret):
            await _is_withheld(person, asked.request_id)
        asking = asyncio.create_task(all_events(person, "And now?", conversation_id=talk.id))
        asked = await workers.take(QuestionAsked, Level.EXTERNAL)
        assert asked.history == (), "no context is carried over"
        await workers.answer(asked)
        await asking


async def _is_withheld(person: httpx2.AsyncClient, turn_id: str) -> None:
    """By each way to a single answer."""
    events, feedback = f"{CHAT}/requests/{turn_id}/events", f"{CHAT}/answers/{turn_id}/feedback"
    for last in ({}, {"Last-Event-ID": "0-0"}, {"Last-Event-ID": "1-0"}):
        answer = await person.get(events, headers=last)
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:sluice:problem:withheld")
        assert "zorilla" not in answer.text
    assert (await person.post(feedback, json={"verdict": "up"})).status_code == 403
    assert (await person.delete(f"{CHAT}/requests/{turn_id}")).status_code == 403


async def test_a_keyed_question_repeated_after_the_change_tells_nothing(
    gateway: RunningGateway, workers: Workers
) -> None:
    person = await gateway.person("mover@razorpay.com", "read")
    async with person:
        headers, body = JSON | {"Idempotency-Key": "one"}, {"question": f"Why is it that {SECRET}?"}
        asking = asyncio.create_task(person.post(CHAT, json=body, headers=headers))
        await workers.answer(await workers.take(QuestionAsked), SECRET, level=Level.INTERNAL)
        assert SECRET in (await asking).json()["answer"]
        await _becomes_external(gateway, "mover@razorpay.com")
        again = await person.post(CHAT, json=body, headers=headers)
    assert (again.status_code, again.json()["type"]) == (403, "urn:sluice:problem:withheld")
    assert "zorilla" not in again.text


async def test_a_stream_that_runs_and_an_answer_that_is_waited_for_end_when_their_reader_becomes_external(
    gateway: RunningGateway, workers: Workers
) -> None:
    """With a typed error, within the few seconds after which readers are looked at again."""
    person = await gateway.person("mover@razorpay.com", "read")
    async with (
        person,
        person.stream("POST", CHAT, json={"question": "Why?"}) as answer,
        aclosing(_without_comments(answer)) as events,
    ):
        await anext(events)
        asked = await workers.take(QuestionAsked)
        waiting = asyncio.create_task(person.post(CHAT, json={"question": "What is it?"}, headers=JSON))
        waited_for = await workers.take(QuestionAsked)
        await workers.broker.replies.writer(asked.tenant, Level.INTERNAL, asked.request_id, 1).append(
            Event("token", {"text": "a"})
        )
        assert (await anext(events))[1]["text"] == "a"
        await _becomes_external(gateway, "mover@razorpay.com")
        writing = asyncio.create_task(_write_on(workers, asked.request_id))
        name, problem, _ = [event async for event in events][-1]
        writing.cancel()
        await workers.answer(waited_for, SECRET, level=Level.INTERNAL)
        whole = await waiting
    assert (name, problem["type"]) == ("error", "urn:sluice:problem:withheld")
    assert (whole.status_code, whole.json()["type"]) == (403, "urn:sluice:problem:withheld")


async def _without_comments(answer: httpx2.Response) -> AsyncGenerator[tuple[str, Any, str]]:
    async for event in events_of(answer):
        if event[0] != ":":
            yield event


async def _write_on(workers: Workers, request_id: str) -> None:
    writer = workers.broker.replies.writer("default", Level.INTERNAL, request_id, 2)
    while True:
        await writer.append(Event("token", {"text": "after"}))
        await asyncio.sleep(0.2)


async def test_what_rests_on_a_document_that_became_internal_is_withheld_and_not_sent_along(
    gateway: RunningGateway, workers: Workers
) -> None:
    """Also where it came in by an earlier turn only; what rests on other documents stays."""
    customer = await gateway.person("customer@example.com", "read")
    async with customer, await gateway.admin() as admin:
        mistake, guide = [await _public_document(admin, workers, name) for name in ("a.txt", "b.txt")]
        talk, other = (Conversation(customer, workers, Level.EXTERNAL) for _ in range(2))
        quoted = await talk.ask("What is the code?", SECRET, mistake)
        repeated = await talk.ask("Say it again.", SECRET, guide)
        assert [turn.question for turn in repeated.history] == ["What is the code?"]
        await other.ask("How long?", "Forty days [1].", guide)
        await _give_level(gateway, mistake, Level.INTERNAL)
        shown = await talk.shown()
        assert [("withheld" in turn) for turn in shown["turns"]] == [True, True]
        assert [turn["answer"] for turn in (await other.shown())["turns"]] == ["Forty days [1]."]
        for asked in (quoted, repeated):
            await _is_withheld(customer, asked.request_id)
        asking = asyncio.create_task(all_events(customer, "And now?", conversation_id=talk.id))
        asked = await workers.take(QuestionAsked, Level.EXTERNAL)
        assert asked.history == ()
        await workers.broker.publish(completed(asked, "Nothing.", citations=()))
        await asking
        assert [("withheld" in turn) for turn in (await talk.shown())["turns"]] == [True, True, False]


async def test_a_question_that_is_sent_again_rests_on_what_was_sent_along_before_too(
    gateway: RunningGateway, workers: Workers
) -> None:
    """Its first sending can be the one that is answered."""
    customer = await gateway.person("customer@example.com", "read")
    async with customer, await gateway.admin() as admin:
        mistake, guide = [await _public_document(admin, workers, name) for name in ("a.txt", "b.txt")]
        talk = Conversation(customer, workers, Level.EXTERNAL)
        await talk.ask("How long?", "Forty days [1].", guide)
        await talk.ask("What is the code?", SECRET, mistake)
        asking = asyncio.create_task(all_events(customer, "And now?", conversation_id=talk.id))
        asked = await workers.take(QuestionFollowedUp, Level.EXTERNAL)
        assert len(asked.history) == 2
        await _give_level(gateway, mistake, Level.INTERNAL)
        [found] = await gateway.services.accounts.credentials("customer@example.com")
        turn = await gateway.services.conversations.turn(found.person.id, asked.request_id)
        assert turn is not None
        await gateway.services.ask.publish(found.person, turn)
        await workers.broker.publish(completed(asked, SECRET, citations=()))
        await asking
        assert [("withheld" in turn) for turn in (await talk.shown())["turns"]] == [False, True, True]


async def test_what_rests_on_a_document_that_is_gone_stays_with_internal_people_alone(
    gateway: RunningGateway, workers: Workers
) -> None:
    customer = await gateway.person("customer@example.com", "read")
    async with customer, await gateway.admin() as admin:
        document = await _public_document(admin, workers, "a.txt")
        talk, staff = Conversation(customer, workers, Level.EXTERNAL), Conversation(admin, workers, Level.INTERNAL)
        for asker in (talk, staff):
            await asker.ask("How long?", "Forty days [1].", document)
        await admin.delete(f"{DOCUMENTS}/{document}")
        assert ["withheld" in turn for turn in (await talk.shown())["turns"]] == [True]
        assert [turn["answer"] for turn in (await staff.shown())["turns"]] == ["Forty days [1]."]


async def test_a_question_that_failed_is_told_again_without_what_its_log_quotes(
    gateway: RunningGateway, workers: Workers
) -> None:
    """Its sources were never kept, so that nobody can look whether they are still for its asker."""
    customer = await gateway.person("customer@example.com", "read")
    async with customer:
        asking = asyncio.create_task(all_events(customer, "What is the code?"))
        asked = await workers.take(QuestionAsked, Level.EXTERNAL)
        writer = workers.broker.replies.writer(asked.tenant, Level.EXTERNAL, asked.request_id, 1)
        await writer.append(Event("token", {"text": SECRET, "attempt": 1}))
        problem = {"type": "urn:sluice:problem:x", "title": "X", "status": 504, "detail": "too slow", "errors": []}
        await workers.broker.replies.finish(asked.tenant, Level.EXTERNAL, asked.request_id, Event("error", problem))
        await asking
        path = f"{CHAT}/requests/{asked.request_id}/events"
        again = [event async for event in events_of(await customer.get(path))]
    assert [name for name, _, _ in again] == ["accepted", "error"]
    assert "zorilla" not in str(again)
