"""What the use cases need from outside."""

from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any, Protocol

from gateway.arrivals import Asserted, Handshake, Link
from gateway.records import (
    Answer,
    ApiKey,
    AuditEntry,
    Claim,
    Conversation,
    Credentials,
    Document,
    Fate,
    FixRow,
    IndexTask,
    Job,
    Page,
    Person,
    Principal,
    Rating,
    SealedDigests,
    Tenant,
    Turn,
)
from sluice.access import Level, Right, Scope
from sluice.audit import AuditRecord, Head
from sluice.deadletters import DeadLetter
from sluice.errors import SluiceError
from sluice.messages import DocumentProgress, FixIndexed, Message
from sluice.places import Place
from sluice.replies import Event


class FirstKeys(Protocol):
    """The data keys that what is a tenant's is sealed with."""

    def begin(self, tenant: str) -> None:
        """Makes the first ones of a tenant that is made now."""
        ...


class Accounts(Protocol):
    """Tenants, people and their sessions."""

    async def add_tenant(self, tenant: Tenant) -> None:
        """Raises ConflictError when the slug is taken."""
        ...

    async def tenant(self, slug: str) -> Tenant | None: ...
    async def tenant_of(self, tenant_id: str) -> Tenant | None: ...
    async def tenants(self, page: Page) -> list[Tenant]: ...

    async def suspend_tenant(self, tenant_id: str, at: datetime | None) -> None:
        """From then on, or None: not any more. A suspension ends the sessions of all its people."""
        ...

    async def close_sessions(self, person_id: str) -> None: ...

    async def add_person(self, person: Person, password_hash: str, *, one_time: bool) -> None:
        """Raises ConflictError when the tenant has the address already."""
        ...

    async def set_sign_up(self, tenant_id: str, setting: str) -> None: ...

    async def person(self, person_id: str) -> Person | None: ...
    async def people(self, tenant_id: str, page: Page, *, email: str | None = None) -> list[Person]:
        """The tenant's, or the one of this address."""
        ...

    async def credentials(self, email: str) -> list[Credentials]: ...

    async def set_password(self, person_id: str, password_hash: str) -> None:
        """Replaces a password by one that its owner chose, or by none, and ends all their sessions."""
        ...

    async def change(
        self, person_id: str, *, rights: frozenset[Right] | None, suspended_at: datetime | None, suspend: bool | None
    ) -> None:
        """Sets what is not None; a suspension ends all sessions."""
        ...

    async def remove_person(self, person_id: str) -> None: ...
    async def open_session(self, token_sha256: str, person_id: str, expires_at: datetime) -> bool:
        """False, and no session, for who is suspended, or whose tenant is, when it would be opened."""
        ...

    async def signed_in(self, token_sha256: str) -> Person | None: ...
    async def all_signed_in(self, tokens_sha256: Iterable[str]) -> dict[str, Person]: ...
    async def close_session(self, token_sha256: str) -> None: ...

    async def count_attempt(self, address_sha256: str, window_ends: datetime) -> tuple[int, datetime]:
        """Counts a login before it is tried: the attempts in the present window, and when that ends."""
        ...

    async def forget_attempts(self, address_sha256: str) -> None: ...

    async def attempted(self, addresses_sha256: Collection[str], least: int) -> dict[str, datetime]:
        """Those with so many attempts in the present window, and when that ends."""
        ...


class Provider(Protocol):
    """An OpenID Connect issuer."""

    async def authorization_url(self, handshake: Handshake, state: str) -> str:
        """Where a browser is sent to. Raises TransientError: the issuer does not answer as one."""
        ...

    async def redeem(self, handshake: Handshake, code: str) -> Asserted:
        """Raises LoginRefusedError: code or token are not good. Raises TransientError."""
        ...


class Identities(Protocol):
    """Whom issuers say that people are, and the sign-ins that were begun there."""

    async def begin(self, state_sha256: str, handshake: Handshake) -> None: ...

    async def take(self, state_sha256: str) -> Handshake | None:
        """Once."""
        ...

    async def known(self, issuer: str, subject: str) -> list[Person]:
        """Of all tenants."""
        ...

    async def of(self, person_id: str) -> set[str]:
        """The issuers that a person has come from."""
        ...

    async def connect(self, person: Person, asserted: Asserted, at: datetime) -> None:
        """Raises ConflictError: the person or the subject is connected to another."""
        ...

    async def set_address(self, person: Person) -> None:
        """Takes on the person's address, whether it is verified, and rights; ends all their sessions.

        Raises ConflictError: the tenant has another person with the address.
        """
        ...


class Links(Protocol):
    """One-time links, by the hashes of their tokens."""

    async def add(self, link: Link, *, alone: bool) -> None:
        """Alone: in place of those for the same person or address and end."""
        ...

    async def find(self, token_sha256: str) -> Link | None: ...

    async def take(self, token_sha256: str) -> Link | None:
        """Once; all others of the same person end with it."""
        ...


class Post(Protocol):
    """Mail."""

    async def send(self, to: str, subject: str, text: str) -> None:
        """Raises OSError: it was not taken."""
        ...

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Does in the background what ends in mail; what fails there is logged."""
        ...

    async def close(self) -> None: ...


class ApiKeys(Protocol):
    """Programs' keys. The digest of a key is kept sealed: it proves offers as the key itself would."""

    async def add(self, key: ApiKey, sealed_digest: str) -> None: ...

    async def key(self, key_id: str) -> tuple[ApiKey, SealedDigests] | None:
        """The key and its sealed digests, also when it was revoked or has expired."""
        ...

    async def keys(self, tenant_id: str, page: Page) -> list[ApiKey]: ...
    async def revoke(self, key_id: str, at: datetime) -> None: ...

    async def rotate(self, key_id: str, before: SealedDigests, after: SealedDigests, until: datetime | None) -> bool:
        """Replaces the digests; False when somebody else did so first, or the key was revoked."""
        ...

    async def used(self, key_id: str, at: datetime) -> None: ...


class Principals(Protocol):
    async def principal(self, principal_id: str) -> Principal | None:
        """The person or API key as it is now, if it may still act at all."""
        ...


class Conversations(Protocol):
    """Conversations and their turns. What is asked for by a person is theirs, or it is not found."""

    async def start(self, person_id: str, conversation: Conversation, turn: Turn) -> bool:
        """Keeps the turn, and its conversation if that is new. False: the turn is there."""
        ...

    async def find(self, person_id: str, conversation_id: str) -> Conversation | None: ...
    async def page(self, person_id: str, page: Page) -> list[Conversation]: ...
    async def rename(self, conversation_id: str, title: str, level: Level) -> None: ...
    async def remove(self, conversation_id: str) -> None: ...
    async def turns(self, conversation_id: str) -> list[Turn]: ...
    async def turn(self, person_id: str, turn_id: str) -> Turn | None: ...

    async def turns_of(self, asked: Collection[tuple[str, str]]) -> list[Turn]:
        """Many at once, each by its person's id and its own."""
        ...

    async def history(self, conversation_id: str, levels: Sequence[Level], limit: int, before: datetime) -> list[Turn]:
        """The last answered turns of these levels and lanes that were asked before then, oldest first."""
        ...

    async def inherit(self, turn: Turn, sources: Sequence[str]) -> None:
        """Notes what the turns that are sent along rest on."""
        ...

    async def complete(self, tenant: str, turn_id: str, answer: Answer, at: datetime) -> Turn | None:
        """The turn with its answer; the first answer stays. None when the tenant has no such turn."""
        ...

    async def fail(self, turn_id: str, error: str) -> None:
        """Notes why there is no answer; an answer stays."""
        ...

    async def overdue(self, asked_before: datetime, after: Turn | None = None) -> list[Turn]: ...

    async def published(self, turn: Turn, at: datetime) -> None:
        """Notes when the question of this run was first sent."""
        ...

    async def unheard(self, changed_before: datetime, after: Turn | None) -> list[tuple[Turn, str]]:
        """Open turns that were sent, or kept, before then, with whose they are; the oldest that come after one."""
        ...

    async def again(self, turn: Turn) -> Turn | None:
        """Begins an open turn anew, to be sent once more. None: it has changed since it was read."""
        ...

    async def reopen(self, turn: Turn, at: datetime) -> Turn | None:
        """Takes a turn whose question could not be sent as asked at this time. None: it was sent after all."""
        ...

    async def rate(self, turn_id: str, verdict: str, reason: str | None, comment: str | None, at: datetime) -> None: ...
    async def ratings(self, conversation_id: str) -> dict[str, Rating]: ...


class Sources(Protocol):
    """Documents and fixes, as far as answers rest on them."""

    async def readable(self, tenant_id: str, ids: Collection[str], levels: Sequence[Level]) -> set[str]:
        """Those that are there, at one of these levels, and not on their way out."""
        ...


class Catalog(Protocol):
    """Documents and the jobs on them."""

    async def submit(self, document: Document, job: Job) -> tuple[Document, Job] | None:
        """Keeps a new document, or a new generation of the one of this tenant, level and name.

        The bytes that are there already make a job that is done, without a new generation. None: the job is there.
        One that was offered before the newest that was taken in makes a job that failed.
        Raises BeingMovedError while the document's level is being changed.
        """
        ...

    async def check_storage(self, tenant_id: str, more: int) -> None:
        """Raises StorageFullError when the tenant has no room for so many bytes; `submit` does for each document."""
        ...

    async def document(self, tenant_id: str, document_id: str) -> Document | None: ...
    async def documents(
        self, tenant_id: str, levels: Sequence[Level], page: Page, *, name: str | None = None
    ) -> list[Document]:
        """Those of the levels; with `name` those alone whose file name, address or title has it in it."""
        ...

    async def delete(self, document_id: str, job: Job) -> tuple[Document, Job] | None:
        """Marks the document as being deleted, and gives it as it is now with the job on that generation.

        None if the document is gone, or a job to delete it is under way.
        """
        ...

    async def job(self, tenant_id: str, job_id: str) -> tuple[Job, Document] | None: ...
    async def wait(self, job_id: str, lane: Level) -> None:
        """Lets a bulk job wait for its turn: all that it needs is stored."""
        ...

    async def published(self, job: Job, at: datetime) -> None:
        """Notes when the message of this run was first sent; a second sender that comes later changes nothing."""
        ...

    async def unpublished(self, changed_before: datetime, after: Job | None = None) -> list[tuple[Job, Document]]:
        """Those that wait for nothing but to be sent; the oldest that come after one."""
        ...

    async def unheard(self, changed_before: datetime, after: Job | None) -> list[tuple[Job, Document]]:
        """Open jobs whose message was sent, and of which nothing was told since; the oldest that come after one."""
        ...

    async def again(self, job: Job) -> Job | None:
        """Begins the job anew, to be sent once more. None: it has changed since it was read, or may not be."""
        ...

    async def overdue(self, published_before: datetime, after: Job | None = None) -> list[tuple[Job, Document]]:
        """Open jobs whose message was sent."""
        ...

    async def undeleted(self, ended_before: datetime, after: Job | None = None) -> list[tuple[Job, Document]]:
        """Documents that are being deleted although no job does it any more, each with the last that did."""
        ...

    async def fail_job(self, job_id: str, error: str, *, run: int | None = None) -> None:
        """Ends the job, unless it has ended, or another run than this has begun."""
        ...

    async def progress(self, message: DocumentProgress, tenant: str) -> bool:
        """Takes a job on, only ever forward. False when there was nothing to change."""
        ...


class Fixes(Protocol):
    """Answers that people taught."""

    async def add(self, fix: FixRow) -> bool:
        """False: it is there."""
        ...

    async def fix(self, tenant_id: str, fix_id: str) -> FixRow | None: ...
    async def fixes(self, tenant_id: str, levels: Sequence[Level], page: Page) -> list[FixRow]: ...
    async def withdraw(self, fix_id: str) -> None: ...

    async def sources_of(self, tenant_id: str, ids: Collection[str]) -> set[str]:
        """What those of the ids rest on that are fixes, and were not declassified."""
        ...

    async def resting_on(self, tenant_id: str, document_id: str) -> list[FixRow]:
        """EXTERNAL fixes, not declassified, that rest on the document."""
        ...

    async def published(self, fix: FixRow, at: datetime) -> None:
        """Notes when the message of this run was first sent."""
        ...

    async def unpublished(self, changed_before: datetime, after: FixRow | None = None) -> list[FixRow]: ...

    async def unheard(self, changed_before: datetime, after: FixRow | None) -> list[FixRow]:
        """Open fixes whose message was sent, and of which nothing was told since; the oldest that come after one."""
        ...

    async def again(self, fix: FixRow) -> FixRow | None:
        """Begins anew what is open or failed. None: it has changed since it was read, or may not be."""
        ...

    async def overdue(self, published_before: datetime, after: FixRow | None = None) -> list[FixRow]:
        """Those that are neither indexed nor withdrawn, although their message was sent."""
        ...

    async def fail(self, fix: FixRow, error: str) -> None:
        """Ends a fix that waits to be indexed, unless another run than this has begun."""
        ...

    async def withdraw_again(self, fix: FixRow, error: str) -> None:
        """Notes why a withdrawal came to nothing, and that its message is to be sent again."""
        ...

    async def indexed(self, message: FixIndexed, tenant: str) -> None:
        """Takes on what became of a fix; a withdrawal that failed is to be sent again."""
        ...


class Moves(Protocol):
    """Documents on their way to another level."""

    async def begin(self, document: Document, job: Job) -> tuple[Document, Job] | None:
        """Begins to give a document the job's level, as a new generation; INTERNAL from now on if that is the level.

        A document that has the level, or is on its way to it, keeps its job, or gets one that is done.
        None if the document is gone or being deleted. Raises ConflictError when the level has one of the same name,
        when it has another level than that it was read with, and while it is still on its way to INTERNAL.
        """
        ...

    async def unsent(self) -> list[tuple[Job, Document]]: ...
    async def settling(self) -> list[tuple[Job, Document]]: ...
    async def failed(self, ended_before: datetime, *, below_run: int) -> list[tuple[Job, Document]]:
        """The newest on their documents that failed, and were not begun so often yet."""
        ...

    async def others(self, job: Job, changed_after: datetime) -> list[Job]:
        """The other jobs on its document that have changed since."""
        ...

    async def questions_open(self, tenant_id: str, asked_before: datetime) -> bool:
        """Whether a question of the EXTERNAL lane that was asked before then has not ended."""
        ...

    async def unsettled(self, job: Job, at: datetime) -> None:
        """Notes that until then what rests on the document could still be read below its level."""
        ...

    async def settled(self, job: Job, at: datetime) -> bool:
        """Ends the job. False: it has ended."""
        ...


class IdempotencyKeys(Protocol):
    """What was asked for under keys of the askers' choice."""

    async def claim(self, owner: str, key: str, tenant_id: str, body_sha256: str, at: datetime) -> Claim:
        """The claim of whoever was first, which may be for another body."""
        ...

    async def settle(self, owner: str, key: str, job_id: str) -> None: ...
    async def forget(self, created_before: datetime) -> None: ...


class OfferFates(Protocol):
    """What became of offers, by the API key that they were made with, and their idempotency key."""

    async def find(self, owner: str, key: str) -> Fate | None: ...
    async def of(self, owner: str, keys: Sequence[str]) -> list[Fate]: ...
    async def page(self, owner: str, page: Page) -> list[Fate]: ...

    async def forgive(self, owner: str, key: str, body_sha256: str) -> None:
        """Forgets a refusal, so that this body can have the key."""
        ...

    async def refuse(self, key: ApiKey, names: Sequence[str], body_sha256: str, reason: str, at: datetime) -> None:
        """Notes the reason under the first of the names that no other body has."""
        ...


class AuditLog(Protocol):
    """Records in chains, one a tenant."""

    async def record(self, *entries: AuditEntry) -> None: ...

    def together(self) -> AbstractAsyncContextManager[None]:
        """What is changed in it and the records of it stand together or not at all; nothing but SQL belongs in it."""
        ...


class LeakSelftest(Protocol):
    @property
    def there(self) -> bool:
        """Whether there is one to run."""
        ...

    async def __call__(self, tell: Callable[[str], None]) -> dict[str, Any]:
        """The report, after a line for each step. Cancelled, it clears up first. Raises SelftestFailedError."""
        ...


class AuditTrail(Protocol):
    """The same, to be read."""

    async def heads(self) -> list[tuple[Head, int]]:
        """Of every chain, with the number of its last record; a chain whose head is gone has an empty one."""
        ...

    async def sign_anew(self) -> None:
        """Signs good heads with the present key, before the one that signed them is given up."""
        ...

    def read(self, chain: str) -> AsyncGenerator[AuditRecord | Head]:
        """The chain as it is now, oldest first, and its head last."""
        ...

    async def page(
        self,
        tenant_id: str,
        limit: int,
        before: int | None,
        *,
        action: str | None = None,
        actor: str | None = None,
        target: str | None = None,
        without: Collection[str] = (),
    ) -> list[AuditRecord]:
        """The newest records of the tenant, of one action, actor or target if given; some actions left out."""
        ...

    async def retrievals(
        self, tenant_id: str, limit: int, *, passage_id: str | None, document_id: str | None, person_id: str | None
    ) -> list[AuditRecord]:
        """The newest records of retrievals that gave the passage, or one of the document, to the person."""
        ...


class Passwords(Protocol):
    async def hash(self, password: str) -> str: ...

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Takes as long without a hash, and is then False."""
        ...


class Publisher(Protocol):
    async def publish(self, message: Message) -> bool:
        """False when the message stands on its stream, or was handled in the last hour."""
        ...


class Replies(Protocol):
    """The reply logs, as sluice.replies has them."""

    async def finish(self, tenant: str, lane: Level, request_id: str, event: Event) -> bool: ...
    async def fail(self, tenant: str, lane: Level, request_id: str, error: SluiceError) -> bool: ...
    async def finished(self, lane: Level, request_id: str) -> bool: ...
    async def listened(self, lane: Level, request_id: str) -> bool: ...
    async def cancel(self, lane: Level, request_id: str) -> None: ...
    def read(self, tenant: str, lane: Level, request_id: str, after: str | None = None) -> AsyncGenerator[Event]: ...


class Gate(Protocol):
    """What the broker can take."""

    async def admit(self) -> None:
        """Raises TransientError when it has no memory for more work; one that is away is no matter here."""
        ...

    async def standing(self, kind: type[Message], lane: Level) -> int:
        """How many messages of the kind have not ended. Raises TransientError."""
        ...


class Backlog(Protocol):
    """What was accepted and has not ended, by tenant."""

    async def open_jobs(self) -> Mapping[str, int]: ...
    async def open_turns(self, asked_after: datetime) -> Mapping[str, int]: ...
    async def open_fixes(self) -> Mapping[str, int]: ...


class Counts(Protocol):
    async def add(self, name: str, seconds: int) -> int:
        """Counts one more under a name that is forgotten after so long; how many there are. Raises TransientError."""
        ...


class WaitingJobs(Protocol):
    """Bulk jobs whose files are stored, and that were not published yet."""

    async def next(self, lane: Level, after_tenant: str) -> tuple[str, str] | None:
        """Tenant and job: the oldest one of the first tenant after this one, by their ids."""
        ...

    async def counts(self) -> Mapping[str, int]:
        """By lane."""
        ...


class News(Protocol):
    """What workers tell the gateway."""

    async def heard(self, kind: type[Message], within: timedelta) -> bool:
        """Whether all of this kind that was told before now was handled in time: else silence says nothing."""
        ...


class Places(Protocol):
    async def find(self, stream: str, message_id: str) -> Place | None:
        """Where the message stands; None: nowhere. Raises TransientError, as all that asks the broker does."""
        ...


class DeadLetters(Protocol):
    """What consumers gave up, as sluice.deadletters has it."""

    async def counts(self) -> dict[str, int]: ...
    async def page(
        self, streams: Sequence[str], limit: int, before: tuple[int, int, str] | None = None
    ) -> list[DeadLetter]: ...
    async def get(self, stream: str, letter_id: str) -> DeadLetter | None: ...
    async def discard(self, letter: DeadLetter) -> bool: ...
    async def put_back(self, letter: DeadLetter) -> bool: ...


class Blobs(Protocol):
    async def put(self, scope: Scope, level: Level, path: tuple[str, ...], data: bytes) -> None: ...
    async def list(self, scope: Scope, level: Level, prefix: tuple[str, ...]) -> list[str]: ...


class IndexTasks(Protocol):
    """What operators asked of the index."""

    async def keep(self, task: IndexTask) -> None: ...
    async def find(self, task_id: str) -> IndexTask | None: ...
