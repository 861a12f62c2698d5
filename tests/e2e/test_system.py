"""What a newcomer does, against the running system: all services, both lanes, real stores, vendors on loopback."""

import re
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis

from sluice.topology import FLOWS, GROUPS
from tests.e2e.conftest import RIGHTS, People, System, Vendors, people_of
from tests.providers import says
from tests.support import documents
from tests.support.api import Person
from tests.support.waiting import wait_for

REFUNDS = [
    "Refund handbook. This handbook explains how money goes back to a customer.",
    "Refunds to debit cards take five working days, because the issuing bank posts them in batches."
    " Refunds to credit cards take nine working days, because the card network settles them once a week.",
    "Settlements. Merchants are paid out every morning at six, except on bank holidays.",
]
APPROVALS = [
    "Approvals",
    "An agent may approve a refund of up to 5,000 rupees alone. Above that the shift lead decides.",
]
PUBLIC_APPROVALS = (
    "# Approvals\n\nOur agents look at each refund request; the amount decides who approves the refund.\n"
)
FEES = "method,fee,currency\nnetbanking,11.50,INR\nwallet,9.75,INR\ninternational card,43.20,INR\n"
CONTACTS = "When payouts are down, call the payments desk at extension x-guillemot at once.\n"
FAQ = (
    "<html><head><title>Help centre</title></head><body><nav>Menu</nav><article><h1>Payouts</h1>"
    "<p>When payouts are down, look at our status page, which is updated every ten minutes.</p>"
    "<p>Payouts normally reach the bank account within one working day of the settlement.</p></article></body></html>"
)


@pytest.fixture(scope="module")
def stocked(system: System, tmp_path_factory: pytest.TempPathFactory) -> People:
    """Staff and a customer with a document of each format, half of them INTERNAL; for tests that change nothing."""
    return stock(people_of(system), tmp_path_factory.mktemp("documents"))


@pytest.fixture
def changing(people: People, tmp_path: Path) -> People:
    """The same for one test alone, which may change what it likes."""
    return stock(people, tmp_path)


def stock(people: People, folder: Path) -> People:
    external = [
        documents.pdf(folder / "refunds.pdf", REFUNDS),
        documents.text(folder / "approvals.md", PUBLIC_APPROVALS),
        documents.text(folder / "faq.html", FAQ),
    ]
    internal = [
        documents.word(folder / "approvals.docx", APPROVALS),
        documents.text(folder / "fees.csv", FEES),
        documents.text(folder / "contacts.txt", CONTACTS, encoding="utf-16"),
    ]
    jobs = people.internal.upload(*external, level="EXTERNAL") + people.internal.upload(*internal)
    assert [job["state"] for job in jobs] == ["done"] * 6, jobs
    return people


def fix_state(people: People, fix_id: str) -> str:
    return people.internal.http.get(f"/api/v1/knowledge/fixes/{fix_id}").json()["state"]


@pytest.mark.parametrize(
    ("question", "secret", "file"),
    [
        ("How much may an agent refund alone?", "5,000", "approvals.docx"),
        ("Whom do I call when payouts are down?", "x-guillemot", "contacts.txt"),
        ("What is the fee for an international card?", "43.20", "fees.csv"),
    ],
)
def test_staff_read_what_a_customer_is_never_shown(
    stocked: People, vendors: Vendors, question: str, secret: str, file: str
) -> None:
    vendors.fail_all()
    internal, external = stocked.internal.ask(question), stocked.external.ask(question)
    assert secret in internal.text
    assert file in {source["title"] for source in internal.cited}
    assert {source["access_level"] for source in external.sources} == {"EXTERNAL"}
    assert secret not in str(external.events)


def test_a_pdfs_citation_names_the_right_page(stocked: People, vendors: Vendors) -> None:
    vendors.fail_all()
    answer = stocked.external.ask("How long do refunds to credit cards take?")
    assert "nine working days" in answer.text
    assert ("refunds.pdf", 2) in {(source["title"], source["page"]) for source in answer.cited}


def test_follow_ups_are_answered_in_context_without_any_model(stocked: People, vendors: Vendors) -> None:
    """Without the turns before, "and for credit cards?" and "why?" have no answer, or another one."""
    vendors.fail_all()
    first = stocked.external.ask("How long do refunds to debit cards take?")
    assert "five working days" in first.text
    second = stocked.external.ask("and to credit cards?", first.conversation_id)
    assert "nine working days" in second.text
    assert "five working days" not in second.text
    third = stocked.external.ask("why?", first.conversation_id)
    assert "card network" in third.text
    alone = stocked.external.ask("why?")
    assert "card network" not in alone.text
    kept = stocked.external.http.get(f"/api/v1/chat/conversations/{first.conversation_id}").json()
    assert [turn["question"] for turn in kept["turns"]] == [
        "How long do refunds to debit cards take?",
        "and to credit cards?",
        "why?",
    ]
    assert [turn["answer"] for turn in kept["turns"]] == [first.text, second.text, third.text]


def test_a_question_that_no_document_answers_gets_no_invented_one(stocked: People, vendors: Vendors) -> None:
    vendors.fail_all()
    answer = stocked.external.ask("Which wine goes with grilled octopus?")
    assert "don't know" in answer.text.replace("’", "'")
    assert answer.done["citations"] == []


def test_a_fix_changes_the_next_answer(changing: People, vendors: Vendors) -> None:
    vendors.fail_all()
    fix = {"question": "How long do refunds to debit cards take?", "answer": "Since May it is three working days."}
    made = changing.internal.http.post("/api/v1/knowledge/fixes", json={**fix, "access_level": "EXTERNAL"})
    assert made.status_code == 202, made.text
    started = time.monotonic()
    wait_for(lambda: fix_state(changing, made.json()["id"]) == "active", "an active fix")
    print(f"a fix took effect in {time.monotonic() - started:.2f} s")
    answer = changing.external.ask("How long does a refund to a debit card take?")
    assert "three working days" in answer.text
    assert answer.cited[0]["fix"] is True


def test_an_internal_fix_is_unknown_to_customers(changing: People, vendors: Vendors) -> None:
    vendors.fail_all()
    fix = {"question": "When is the office party?", "answer": "On Friday at the pier."}
    made = changing.internal.http.post("/api/v1/knowledge/fixes", json=fix).json()
    wait_for(lambda: fix_state(changing, made["id"]) == "active", "an active fix")
    assert "pier" in changing.internal.ask("When is the office party?").text
    assert "pier" not in str(changing.external.ask("When is the office party?").events)


def test_each_tier_takes_over_from_the_one_before(stocked: People, vendors: Vendors) -> None:
    question = "How long do refunds to debit cards take?"
    answered = []
    for failing in ([], ["gemini-2.5-pro"], ["gemini-2.5-pro", "gemini-2.5-flash"]):
        vendors.script.reset()
        vendors.fail(*failing)
        answer = stocked.external.ask(question)
        assert answer.text
        answered.append(answer.done["tier"])
    vendors.fail_all()
    answered.append(stocked.external.ask(question).done["tier"])
    assert answered == ["gemini-2.5-pro", "gemini-2.5-flash", "azure/gpt-4o", "extractive"]


def test_a_client_that_goes_away_cancels_the_call_upstream(stocked: People, vendors: Vendors) -> None:
    vendors.script.behave("gemini-2.5-pro", says(*["a word "] * 600, between=0.1))
    with stocked.external.asking("How long do refunds to debit cards take?") as events:
        request_id = next(data["request_id"] for name, data, _ in events if name == "accepted")
        next(event for event in events if event[0] == "token")
        assert [call.disconnected for call in vendors.script.calls()] == [None]
        assert stocked.external.http.delete(f"/api/v1/chat/requests/{request_id}").status_code == 204
        last = list(events)[-1]
    assert (last[0], last[1]["finish_reason"]) == ("done", "cancelled")
    wait_for(lambda: vendors.script.calls()[0].disconnected, "the end of the call upstream")


def test_a_resumed_stream_has_no_gap_and_no_repeat(stocked: People, vendors: Vendors) -> None:
    vendors.fail_all()
    whole = stocked.external.ask("How long do refunds to debit cards take?")
    at = len(whole.events) // 2
    response = stocked.external.http.get(
        f"/api/v1/chat/requests/{whole.request_id}/events", headers={"Last-Event-ID": whole.events[at][2]}
    )
    assert re.findall(r"^id: (.*)$", response.text, re.M) == [event_id for _, _, event_id in whole.events[at + 1 :]]
    other = stocked.internal.http.get(f"/api/v1/chat/requests/{whole.request_id}/events")
    assert other.status_code == 404


def test_logs_are_searched_through_the_child_process_within_the_askers_tenant(
    stocked: People, system: System, vendors: Vendors
) -> None:
    vendors.fail_all()
    request_id = stocked.internal.ask("How much may an agent refund alone?").request_id
    body: dict[str, Any] = {
        "query": f'request_id:"{request_id}"',
        "start": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 600)),
        "end": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60)),
        "limit": 50,
    }
    found = stocked.internal.http.post("/api/v1/logs/search", json=body)
    assert found.status_code == 200, found.text
    assert found.json()["total"] > 0
    assert {hit["request_id"] for hit in found.json()["hits"]} == {request_id}
    assert stocked.external.http.post("/api/v1/logs/search", json=body).status_code == 403
    neighbour = system.person(system.tenant(), "eve@razorpay.com", RIGHTS)
    for query in (body["query"], f"*) OR ({body['query']}"):
        answer = neighbour.http.post("/api/v1/logs/search", json={**body, "query": query})
        assert answer.status_code == 422 or answer.json()["total"] == 0


def test_a_deleted_document_is_no_longer_quoted(changing: People, vendors: Vendors) -> None:
    vendors.fail_all()
    listed = changing.internal.http.get("/api/v1/knowledge/documents").json()["items"]
    document = next(item for item in listed if item["title"] == "contacts.txt")
    response = changing.internal.http.delete(f"/api/v1/knowledge/documents/{document['id']}")
    assert response.status_code in (202, 204), response.text
    address = f"/api/v1/knowledge/documents/{document['id']}"
    wait_for(lambda: changing.internal.http.get(address).status_code == 404, "the document's end")
    answer = changing.internal.ask("Whom do I call when payouts are down?")
    assert "x-guillemot" not in str(answer.events)


def test_a_bad_file_fails_with_its_reason_and_the_good_one_beside_it_is_read(people: People, tmp_path: Path) -> None:
    bad = documents.text(tmp_path / "bad.pdf", "%PDF-1.7\nthis is no PDF at all")
    good = documents.text(tmp_path / "good.txt", CONTACTS)
    jobs = {job["name"]: job for job in people.internal.upload(bad, good)}
    assert jobs["good.txt"]["state"] == "done"
    assert jobs["bad.pdf"]["state"] == "failed"
    assert "PDF" in jobs["bad.pdf"]["error"]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://169.254.169.254/latest/meta-data", "http://[::1]/", "http://2130706433/"]
)
def test_a_url_that_leads_inside_is_refused(people: People, url: str) -> None:
    [job] = people.internal.upload(urls=(url,))
    assert job["state"] == "failed"
    assert job["error"]


def test_rubbish_gets_a_problem_that_names_the_field_and_repeats_nothing(system: System, people: People) -> None:
    for body, field in (
        ({"question": ""}, "question"),
        ({"question": "x" * 5000}, "question"),
        ({"question": "ok", "access_level": "INTERNAL"}, "access_level"),
    ):
        response = people.external.http.post("/api/v1/chat", json=body)
        problem = response.json()
        assert response.status_code == 422
        assert response.headers["content-type"].startswith("application/problem+json")
        assert field in {error["field"] for error in problem["errors"]}
        assert problem["request_id"]
        assert "x" * 100 not in response.text
    wrong = {"email": "asha@razorpay.com", "password": "a secret that must not be repeated"}
    answer = httpx2.post(f"{system.url}/api/v1/auth/login", json=wrong, trust_env=False)
    assert answer.status_code in (401, 409, 422)
    assert "secret that" not in answer.text
    assert httpx2.get(f"{system.url}/api/v1/me", trust_env=False).status_code == 401


def test_no_log_line_holds_what_people_wrote(stocked: People, system: System, vendors: Vendors) -> None:
    vendors.fail_all()
    stocked.internal.ask("Does the zanzibar clause apply to an agent?")
    logs = "".join(file.read_text(errors="replace") for file in (system.state / "logs").glob("*.jsonl"))
    assert "document.indexed" in logs
    for secret in ("zanzibar", "payments desk", "shift lead", "a long enough password", "test-gemini-key"):
        assert secret not in logs


def test_each_stream_is_read_and_written_by_those_whom_the_table_names(
    stocked: People, system: System, vendors: Vendors
) -> None:
    vendors.fail_all()
    stocked.internal.ask("How much may an agent refund alone?")
    client = redis.Redis.from_url(system.redis_url)
    groups = {stream: [group["name"].decode() for group in client.xinfo_groups(stream)] for stream in GROUPS}
    assert groups == {stream: [receiver] for stream, receiver in GROUPS.items()}
    read = {stream for stream, number in system.samples("gateway", "sluice_stream_consumers").items() if number}
    assert read == set(GROUPS)
    for service in ("gateway", "ingest-worker", "retriever", "llm-router"):
        may = {stream for flow in FLOWS if service in flow.senders for stream in flow.streams}
        written = {stream for stream, number in system.samples(service, "sluice_published_total").items() if number}
        assert written, service
        assert written <= may
    refused = [entry for entry in client.acl_log() if entry["username"] != "operator"]
    assert refused == [], "case 44: its least rights keep no service from its work"


def test_the_first_admin_signs_in_with_the_password_from_the_settings(system: System) -> None:
    admin = Person.sign_in(system.url, "root@razorpay.com", "a long enough password")
    me = admin.http.get("/api/v1/me").json()
    assert (me["clearance"], me["tenant"]) == ("INTERNAL", "default")
