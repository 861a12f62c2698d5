"""What the gateway's tables hold, as the use cases see it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, NamedTuple, Protocol

from sluice.access import Level, Right, clearance_of, digest
from sluice.messages import JobState
from sluice.tracing import current_traceparent


class Principal(Protocol):
    """Who acts: a person, or a program by its API key."""

    @property
    def id(self) -> str: ...
    @property
    def tenant(self) -> "Tenant": ...
    @property
    def clearance(self) -> Level: ...
    @property
    def rights(self) -> frozenset[Right]: ...
    @property
    def active(self) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class Tenant:
    id: str
    slug: str
    name: str
    internal_domains: list[str]
    created_at: datetime
    suspended_at: datetime | None = None
    sign_up: str = "closed"


@dataclass(frozen=True, kw_only=True)
class Person:
    id: str
    tenant: Tenant
    email: str
    email_verified: bool
    rights: frozenset[Right]
    created_at: datetime
    suspended_at: datetime | None = None

    @property
    def clearance(self) -> Level:
        """Computed each time, so that a changed domain list holds from the next request on."""
        return clearance_of(self.email, self.tenant.internal_domains, verified=self.email_verified)

    @property
    def active(self) -> bool:
        return self.suspended_at is None and self.tenant.suspended_at is None


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A program's key, without the key; its id begins with `key-`, so that it is nobody else's.

    It was `granted` rights and a `ceiling`; of these it has what its maker has as well, who may be gone.
    """

    id: str
    tenant: Tenant
    name: str
    granted: frozenset[Right]
    ceiling: Level
    created_by: str
    maker: Person | None
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    previous_until: datetime | None = None
    last_used_at: datetime | None = None

    @property
    def rights(self) -> frozenset[Right]:
        return self.granted & self.maker.rights if self.maker else frozenset()

    @property
    def clearance(self) -> Level:
        return min(self.ceiling, self.maker.clearance) if self.maker else Level.EXTERNAL

    @property
    def active(self) -> bool:
        expired = self.expires_at is not None and self.expires_at <= datetime.now(UTC)
        return self.revoked_at is None and not expired and self.maker is not None and self.maker.active


class SealedDigests(NamedTuple):
    """Of a key's secret, and of the one before, where that is good for a while yet."""

    present: str
    previous: str | None = None


def may_declassify(principal: Principal) -> bool:
    """Whether it may give EXTERNAL people what INTERNAL ones know."""
    return Right.DECLASSIFY in principal.rights and principal.clearance is Level.INTERNAL


@dataclass(frozen=True, kw_only=True)
class Credentials:
    person: Person
    password_hash: str
    one_time: bool


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Whoever a request is from, and the hash of the token that it came with."""

    principal: Person | ApiKey
    token_sha256: str


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """`title_level` is the clearance of whoever wrote the title, when they did."""

    id: str
    title: str
    title_level: Level
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A question, and its answer once there is one; the id is the request's and the answer's.

    `tenant` is its slug, `lane` the clearance that it was asked with, `level` the highest of what the answer rests on.
    `run` counts how often it was sent out; so it does for jobs and fixes. `inherited` are the documents and fixes that
    the turns sent along rest on.
    """

    id: str
    tenant: str
    conversation_id: str
    lane: Level
    question: str
    answer: str | None
    level: Level
    tier: str | None
    finish_reason: str | None
    sources: list[dict[str, Any]]
    citations: list[int]
    usage: dict[str, int]
    created_at: datetime
    answered_at: datetime | None
    error: str | None
    run: int = 1
    published_at: datetime | None = None
    inherited: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an answered turn is completed with."""

    text: str
    level: Level
    tier: str
    finish_reason: str
    sources: list[dict[str, Any]]
    citations: list[int]
    usage: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Rating:
    """What the owner of an answer thinks of it."""

    verdict: str
    reason: str | None
    comment: str | None


class DocumentState(StrEnum):
    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"
    DELETING = "deleting"


@dataclass(frozen=True, kw_only=True)
class Document:
    """One document of the catalog. `name` is the file name or URL that it came under, `title` what people see."""

    id: str
    tenant_id: str
    access_level: Level
    name: str
    title: str
    url: str | None
    sha256: str | None
    generation: int
    state: DocumentState
    chunk_count: int
    created_by: str
    created_at: datetime
    updated_at: datetime
    size: int = 0
    """Of the file that was uploaded, in bytes; 0 for what is fetched from a URL."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """Work on one generation of a document; `done` of `total` chunks. `unchanged`: the same bytes were there before.

    `waiting_lane`: where a bulk job waits for its turn, once its file is stored; until then it has no turn.
    `access_level`: which one the document is given, by a job to that end.
    `offered_at`: when a bulk producer's offer of it was queued.
    `traceparent` is that of the request that made it.
    """

    id: str
    document_id: str
    tenant_id: str
    generation: int
    kind: Literal["index", "delete", "relevel"]
    state: JobState
    attempt: int = 1
    done: int = 0
    total: int = 0
    error: str | None = None
    unchanged: bool = False
    bulk: bool = False
    run: int = 1
    waiting_lane: Level | None = None
    access_level: Level | None = None
    traceparent: str | None = field(default_factory=current_traceparent)
    created_by: str
    created_at: datetime
    updated_at: datetime
    published_at: datetime | None = None
    offered_at: datetime | None = None


class FixState(StrEnum):
    PENDING = "pending"
    ACTIVE = "active"
    FAILED = "failed"
    WITHDRAWING = "withdrawing"


@dataclass(frozen=True, kw_only=True)
class FixRow:
    """A taught answer. `sources` are the ids of what it was taught from, and of what those of them that are fixes were.

    One that was declassified does not follow their levels.
    """

    id: str
    tenant_id: str
    question: str
    answer: str
    access_level: Level
    state: FixState
    error: str | None
    created_by: str
    created_at: datetime
    updated_at: datetime
    sources: list[str]
    declassified: bool = False
    run: int = 1
    published_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An idempotency key and what it was claimed for. `settled`: all was made once, so nothing is made again."""

    owner: str
    key: str
    body_sha256: str
    settled: bool = False

    def id(self, number: int = 0) -> str:
        """The id of the n-th thing made under the key, the same at each try."""
        return digest([self.owner, self.key, self.body_sha256, number])[:32]


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What became of an offer: refused, or the job that was made. A job that was made and is gone has no state."""

    idempotency_key: str
    body_sha256: str
    refused: str | None
    job_id: str | None
    job_state: JobState | None
    document_id: str | None
    job_error: str | None
    superseded: bool
    """A later upload took the document's place, or it is being deleted."""
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Page:
    """Where a list goes on: the newest first, after this row."""

    limit: int
    before: tuple[datetime, str] | None = None


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """Who did what on what. What names the same `once` in a tenant is written down once."""

    tenant_id: str | None
    actor: str
    action: str
    target: str
    detail: dict[str, Any] = field(default_factory=dict[str, Any])
    once: str | None = None
    passages: tuple[tuple[str, str], ...] = ()
    """Passages that were retrieved and their documents, to find the record by."""


@dataclass(frozen=True, kw_only=True)
class IndexTask:
    """What an operator asked for, and how far it is; `rows` and the other counts are those of IndexProgress."""

    id: str
    tenant: str
    access_level: Level
    kind: str
    state: str = "queued"
    rows: int = 0
    missing: int = 0
    extra: int = 0
    unusable: int = 0
    error: str | None = None

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed")
