"""What a person asked before, over HTTP."""

import asyncio

import httpx2

from sluice.access import Level
from sluice.messages import QuestionAsked
from tests.support.gateway import RunningGateway, Workers, all_events, completed

CONVERSATIONS = "/api/v1/chat/conversations"


async def _ask(client: httpx2.AsyncClient, workers: Workers, question: str) -> tuple[str, str]:
    """The ids of the conversation and of the answer."""
    asking = asyncio.create_task(all_events(client, question))
    asked = await workers.take(QuestionAsked)
    await workers.answer(asked)
    accepted = (await asking)[0][1]
    return accepted["conversation_id"], accepted["request_id"]


async def test_conversations_are_listed_renamed_and_deleted(any_gateway: RunningGateway, workers: Workers) -> None:
    """On SQLite and on PostgreSQL."""
    async with await any_gateway.admin() as admin:
        ids = [(await _ask(admin, workers, f"Question {number}?"))[0] for number in range(3)]
        first = (await admin.get(CONVERSATIONS, params={"limit": 2})).json()
        second = (await admin.get(CONVERSATIONS, params={"limit": 2, "cursor": first["next_cursor"]})).json()
        assert [item["id"] for item in first["items"] + second["items"]] == ids[::-1]
        assert second["next_cursor"] is None
        path = f"{CONVERSATIONS}/{ids[0]}"
        assert (await admin.patch(path, json={"title": "  Warranty "})).json()["title"] == "Warranty"
        assert (await admin.patch(path, json={"title": ""})).status_code == 422
        assert (await admin.delete(path)).status_code == 204
        for answer in (await admin.get(path), await admin.delete(path)):
            assert answer.status_code == 404


async def test_feedback_is_there_again_and_the_last_word_counts(any_gateway: RunningGateway, workers: Workers) -> None:
    """On SQLite and on PostgreSQL."""
    async with await any_gateway.admin() as admin:
        conversation_id, answer_id = await _ask(admin, workers, "Why?")
        path = f"/api/v1/chat/answers/{answer_id}/feedback"
        assert (await admin.post(path, json={"verdict": "up"})).status_code == 204
        last = {"verdict": "down", "reason": "wrong source", "comment": "It is page 4."}
        assert (await admin.post(path, json=last)).status_code == 204
        assert (await admin.post(path, json={"verdict": "maybe"})).status_code == 422
        [turn] = (await admin.get(f"{CONVERSATIONS}/{conversation_id}")).json()["turns"]
    assert turn["feedback"] == last


async def test_a_question_in_another_persons_conversation_is_refused_and_kept_nowhere(
    gateway: RunningGateway, workers: Workers
) -> None:
    """case 3: another's conversation cannot be joined."""
    colleague = await gateway.person("colleague@razorpay.com", "read")
    async with colleague, await gateway.admin() as admin:
        conversation_id, _ = await _ask(admin, workers, "Why?")
        for joined in (conversation_id, "0" * 32):
            body = {"question": "What did they ask?", "conversation_id": joined}
            assert (await colleague.post("/api/v1/chat", json=body)).status_code == 404
        for method, body in (("GET", None), ("PATCH", {"title": "x"}), ("DELETE", None)):
            answer = await colleague.request(method, f"{CONVERSATIONS}/{conversation_id}", json=body)
            assert answer.status_code == 404
        assert (await colleague.get(CONVERSATIONS)).json()["items"] == []
        assert len((await admin.get(f"{CONVERSATIONS}/{conversation_id}")).json()["turns"]) == 1
    assert workers.idle()


async def test_a_conversation_deleted_while_its_answer_is_made_ends_in_an_error(
    gateway: RunningGateway, workers: Workers
) -> None:
    """Done would mean kept."""
    async with await gateway.admin() as admin:
        asking = asyncio.create_task(all_events(admin, "Why?"))
        asked = await workers.take(QuestionAsked)
        [conversation] = (await admin.get(CONVERSATIONS)).json()["items"]
        await admin.delete(f"{CONVERSATIONS}/{conversation['id']}")
        await workers.answer(asked)
        name, problem, _ = (await asking)[-1]
    assert (name, problem["status"]) == ("error", 404)


async def test_a_cancelled_answer_is_no_history(gateway: RunningGateway, workers: Workers) -> None:
    async with await gateway.admin() as admin:
        asking = asyncio.create_task(all_events(admin, "Why?"))
        asked = await workers.take(QuestionAsked)
        await workers.broker.publish(completed(asked, "Beca", finish_reason="cancelled", citations=()))
        events = await asking
        assert events[-1][1]["finish_reason"] == "cancelled"
        again = asyncio.create_task(all_events(admin, "Why?", conversation_id=events[0][1]["conversation_id"]))
        await workers.answer(await workers.take(QuestionAsked, Level.INTERNAL))
        await again
