"""Random tenants, people, documents and changes, and beside the gateway a model of who may see what.

Whatever comes back is searched for every word that was ever planted: it must lie within the model.
"""

import asyncio
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import httpx2
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from sqlalchemy import text

from sluice.access import Level
from tests.support.gateway import OPERATOR_TOKEN, RunningGateway
from tests.support.waiting import wait_for
from tests.support.whole import Whole

RIGHTS = ("read", "upload", "teach", "admin")
DOMAINS = {Level.INTERNAL: "staff.example.com", Level.EXTERNAL: "example.com"}
LEVELS = st.sampled_from(list(Level))
SECONDS = 60
_JSON = {"Accept": "application/json"}


@dataclass(eq=False)
class Somebody:
    """A person as the model has them."""

    id: str
    tenant: str
    level: Level
    rights: frozenset[str]
    http: httpx2.Client
    suspended: bool = False

    def may(self, right: str) -> bool:
        return right in self.rights and not self.suspended


@dataclass(eq=False)
class Text:
    """A document or a fix as the model has it."""

    tenant: str
    level: Level
    path: str
    id: str = ""
    word: str = field(default_factory=lambda: "w" + secrets.token_hex(8))
    topic: str = field(default_factory=lambda: "t" + secrets.token_hex(4))
    gone: bool = False
    source: "Text | None" = None
    """The document that a fix was taught from."""

    @property
    def sentence(self) -> str:
        return f"The pass phrase of the {self.topic} is {self.word}."

    @property
    def question(self) -> str:
        return f"What is the pass phrase of the {self.topic}?"

    def readable_for(self, person: Somebody) -> bool:
        return self.tenant == person.tenant and self.level in person.level.readable


@dataclass
class Running:
    """A gateway in a thread of its own."""

    gateway: RunningGateway
    loop: asyncio.AbstractEventLoop

    def client(self, token: str = "") -> httpx2.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # Without TLS no context for it is made, which takes longer than a request.
        return httpx2.Client(base_url=self.gateway.url, headers=headers, timeout=SECONDS, trust_env=False, verify=False)

    def execute(self, statement: str, **values: Any) -> None:
        async def run() -> None:
            async with self.gateway.adapters.database.write() as connection:
                await connection.execute(text(statement), values)

        asyncio.run_coroutine_threadsafe(run(), self.loop).result(SECONDS)


@contextmanager
def in_a_thread(whole: Whole) -> Iterator[Running]:
    started, ended = threading.Event(), asyncio.Event()
    found: list[Running] = []

    async def serve() -> None:
        async with whole.running(reconcile_seconds=0.5) as gateway:
            found.append(Running(gateway, asyncio.get_running_loop()))
            started.set()
            await ended.wait()

    def work() -> None:
        try:
            asyncio.run(serve())
        finally:
            started.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    started.wait(2 * SECONDS)
    assert found, "the gateway did not start"
    try:
        yield found[0]
    finally:
        found[0].loop.call_soon_threadsafe(ended.set)
        thread.join(SECONDS)


class AccessMachine(RuleBasedStateMachine):
    """Each example has two tenants of its own in the one running system."""

    running: ClassVar[Running]
    steps: ClassVar[int] = 0
    found: ClassVar[int] = 0
    people = Bundle("people")
    documents = Bundle("documents")
    fixes = Bundle("fixes")

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[Text] = []
        self.operator = self.running.client(OPERATOR_TOKEN)

    def teardown(self) -> None:
        self.operator.close()

    @initialize(target=people)
    def two_tenants(self) -> Any:
        self.tenants = [f"model-{secrets.token_hex(4)}" for _ in range(2)]
        for slug in self.tenants:
            body = {"slug": slug, "name": slug, "internal_domains": [DOMAINS[Level.INTERNAL]]}
            assert self.operator.post("/api/v1/tenants", json=body).status_code == 201
        people = [self._person(slug, Level.INTERNAL, frozenset(RIGHTS)) for slug in self.tenants]
        people.append(self._person(self.tenants[0], Level.EXTERNAL, frozenset({"read", "upload"})))
        for level in Level:
            document = self._upload(people[0], level)
            assert document
            for person in people:
                self._ask(person, document)
        return multiple(*people)

    @invariant()
    def count(self) -> None:
        type(self).steps += 1

    @rule(target=people, number=st.integers(0, 1), level=LEVELS, rights=st.frozensets(st.sampled_from(RIGHTS)))
    def somebody_comes(self, number: int, level: Level, rights: frozenset[str]) -> Somebody:
        return self._person(self.tenants[number], level, rights)

    @rule(target=documents, person=people, level=LEVELS)
    def a_document_is_uploaded(self, person: Somebody, level: Level) -> Any:
        return self._upload(person, level) or multiple()

    def _upload(self, person: Somebody, level: Level) -> Text | None:
        new = Text(person.tenant, level, "/api/v1/knowledge/documents")
        answer = person.http.post(
            new.path, files=[("files", (f"{new.word}.txt", new.sentence.encode()))], data={"access_level": level}
        )
        self._check(person, answer)
        if not person.may("upload") or level not in person.level.readable:
            assert answer.status_code in (401, 403), answer.text
            return None
        assert answer.status_code == 202, answer.text
        job = answer.json()["jobs"][0]
        new.id = job["document_id"]
        self.texts.append(new)
        self._wait_for_job(person, job["job_id"])
        return new

    @rule(document=consumes(documents), person=people)
    def a_document_is_deleted(self, document: Text, person: Somebody) -> None:
        answer = person.http.delete(f"{document.path}/{document.id}")
        self._check(person, answer)
        if not person.may("upload"):
            assert answer.status_code in (401, 403), answer.text
        elif not document.readable_for(person):
            assert answer.status_code == 404, answer.text
        else:
            assert answer.status_code == 202, answer.text
            path = f"{document.path}/{document.id}"
            wait_for(lambda: person.http.get(path).status_code in (403, 404), "the deletion", seconds=SECONDS)
            document.gone = True

    @rule(document=documents, person=people, level=LEVELS)
    def a_document_changes_its_level(self, document: Text, person: Somebody, level: Level) -> None:
        """Nobody here may declassify; what is acknowledged holds at once."""
        answer = person.http.patch(f"{document.path}/{document.id}", json={"access_level": level})
        self._check(person, answer)
        if answer.status_code == 202:
            assert person.may("upload")
            assert document.readable_for(person)
            assert level >= document.level
            assert level in person.level.readable
            self._wait_for_job(person, answer.json()["job_id"])
            document.level = level
            for fix in self.texts:
                if fix.source is document and fix.level < level:
                    fix.level, fix.gone = level, True

    @rule(person=people, changed=people, rights=st.frozensets(st.sampled_from(RIGHTS)), suspended=st.booleans())
    def rights_change(self, person: Somebody, changed: Somebody, rights: frozenset[str], suspended: bool) -> None:
        body = {"rights": sorted(rights), "suspended": suspended}
        answer = person.http.patch(f"/api/v1/people/{changed.id}", json=body)
        self._check(person, answer)
        if answer.status_code == 200:
            assert person.may("admin")
            assert person.tenant == changed.tenant
            assert person.level >= changed.level
            assert rights - changed.rights <= person.rights
            changed.rights, changed.suspended = rights, suspended

    @rule(person=people, level=LEVELS)
    def an_address_changes(self, person: Somebody, level: Level) -> None:
        """As when somebody leaves the company: another domain, the same person."""
        address = f"{secrets.token_hex(6)}@{DOMAINS[level]}"
        self.running.execute("UPDATE people SET email = :address WHERE id = :id", address=address, id=person.id)
        person.level = level

    @rule(person=people, document=documents)
    def a_question_is_asked(self, person: Somebody, document: Text) -> None:
        self._ask(person, document)

    def _ask(self, person: Somebody, document: Text) -> None:
        """What may be seen is found, and nothing else."""
        answer = person.http.post("/api/v1/chat", json={"question": document.question}, headers=_JSON)
        self._check(person, answer)
        if not person.may("read"):
            assert answer.status_code in (401, 403), answer.text
            return
        assert answer.status_code == 200, answer.text
        if document.readable_for(person) and not document.gone:
            assert document.word in answer.text, f"{document} for {person}"
            type(self).found += 1
        else:
            assert document.word not in answer.text, document

    @rule(person=people, document=documents)
    def a_document_is_looked_at(self, person: Somebody, document: Text) -> None:
        for path in (document.path, f"{document.path}/{document.id}"):
            answer = person.http.get(path)
            self._check(person, answer)
        if person.may("read"):
            assert answer.status_code == (200 if document.readable_for(person) else 404), answer.text

    @rule(target=fixes, person=people, level=LEVELS)
    def a_fix_is_taught(self, person: Somebody, level: Level) -> Any:
        new = Text(person.tenant, level, "/api/v1/knowledge/fixes")
        body = {"question": new.question, "answer": new.sentence, "access_level": level}
        answer = person.http.post(new.path, json=body)
        self._check_but(person, answer, new)
        if answer.status_code != 202:
            return multiple()
        assert person.may("teach")
        new.id, new.level = answer.json()["id"], Level(answer.json()["access_level"])
        assert new.level in person.level.readable
        self.texts.append(new)
        return new

    @rule(target=fixes, person=people, document=documents)
    def a_fix_is_taught_from_a_document(self, person: Somebody, document: Text) -> Any:
        """An EXTERNAL one takes an EXTERNAL document, of INTERNAL people, and goes with it."""
        new = Text(person.tenant, Level.EXTERNAL, "/api/v1/knowledge/fixes", source=document)
        body = {"question": new.question, "answer": new.sentence, "access_level": new.level, "sources": [document.id]}
        answer = person.http.post(new.path, json=body)
        self._check_but(person, answer, new)
        if answer.status_code != 202:
            return multiple()
        assert person.may("teach")
        assert person.level is Level.EXTERNAL or (document.level is Level.EXTERNAL and document.readable_for(person))
        new.id = answer.json()["id"]
        self.texts.append(new)
        if document.level is not Level.EXTERNAL or document.tenant != person.tenant:
            new.source = None  # EXTERNAL people can name whatever they like: it is theirs anyway
        return new

    @rule(person=people, fix=fixes)
    def a_fix_is_asked_for(self, person: Somebody, fix: Text) -> None:
        self._ask(person, fix)

    @rule(person=people, fix=fixes)
    def fixes_are_looked_at(self, person: Somebody, fix: Text) -> None:
        for path in (fix.path, f"{fix.path}/{fix.id}"):
            answer = person.http.get(path)
            self._check(person, answer)
        if person.may("teach"):
            assert answer.status_code == (200 if fix.readable_for(person) and not fix.gone else 404), answer.text

    @rule(person=people)
    def old_questions_are_read_again(self, person: Somebody) -> None:
        """An answer stays with its asker, but for what lies above their clearance of now."""
        listed = person.http.get("/api/v1/chat/conversations")
        self._check(person, listed)
        for conversation in listed.json().get("items", [])[:5]:
            self._check(person, person.http.get(f"/api/v1/chat/conversations/{conversation['id']}"))

    def _check(self, person: Somebody, answer: httpx2.Response) -> None:
        assert answer.status_code < 500, answer.text
        for known in self.texts:
            if not known.readable_for(person):
                assert known.word not in answer.text, (known, person, answer.text)

    def _check_but(self, person: Somebody, answer: httpx2.Response, own: Text) -> None:
        """What somebody has just written themselves comes back to them."""
        assert own not in self.texts
        self._check(person, answer)

    def _person(self, tenant: str, level: Level, rights: frozenset[str]) -> Somebody:
        email = f"{secrets.token_hex(6)}@{DOMAINS[level]}"
        made = self.operator.post(f"/api/v1/tenants/{tenant}/people", json={"email": email, "rights": sorted(rights)})
        assert made.status_code == 201, made.text
        login = {"email": email, "tenant": tenant, "password": made.json()["one_time_password"]}
        with self.running.client() as visitor:
            signed = visitor.post("/api/v1/auth/login", json={**login, "new_password": "a long enough password"})
        assert signed.status_code == 200, signed.text
        client = self.running.client(signed.json()["access_token"])
        return Somebody(made.json()["id"], tenant, level, rights, client)

    def _wait_for_job(self, person: Somebody, job_id: str) -> None:
        def ended() -> bool:
            return person.http.get(f"/api/v1/knowledge/jobs/{job_id}").json()["state"] in ("done", "failed")

        wait_for(ended, "the job", seconds=SECONDS)
