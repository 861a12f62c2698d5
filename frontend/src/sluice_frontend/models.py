"""What the gateway answers, as far as the page shows it; unknown fields are ignored."""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

Level = Literal["INTERNAL", "EXTERNAL"]
T = TypeVar("T")


class Answered(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Listing(Answered, Generic[T]):
    items: list[T]


class Person(Answered):
    id: str
    email: str
    clearance: Level
    tenant: str = ""
    rights: tuple[str, ...] = ()

    def may(self, right: str) -> bool:
        return right in self.rights

    @property
    def may_search_logs(self) -> bool:
        return self.may("logs") and self.clearance == "INTERNAL"

    @property
    def may_explain_access(self) -> bool:
        return self.may("admin") and self.clearance == "INTERNAL"


class SignedIn(Answered):
    access_token: str
    expires_in: int
    """Seconds."""
    person: Person


class Issuer(Answered):
    name: str
    title: str


class Ways(Answered):
    """How one may sign in, beside a password."""

    issuers: tuple[Issuer, ...] = ()
    forgotten: bool = False
    sign_up: bool = False


class FoundLink(Answered):
    """What a link that is good once is for."""

    purpose: str
    email: str
    tenant: str
    issuers: tuple[Issuer, ...] = ()


class BegunSignIn(Answered):
    authorization_url: str
    expires_in: int


class Passage(Answered):
    """A source, numbered from 1 within its answer; `score` is a cosine similarity."""

    n: int
    title: str
    access_level: Level
    text: str
    page: int | None = None
    score: float = 0.0
    fix: bool = False


class Turn(Answered):
    """`answer` is None while it is being written, or when there was an `error` or a Stop instead.

    Of one that is `withheld` nothing is there but the reason.
    """

    question: str = ""
    withheld: str | None = None
    answer: str | None = None
    error: str | None = None
    tier: str | None = None
    sources: tuple[Passage, ...] = ()


class ConversationSummary(Answered):
    id: str
    title: str


class Conversation(Answered):
    id: str
    title: str = ""
    turns: tuple[Turn, ...] = ()


class ChatEvent(Answered):
    """One event of a chat; `data` is shaped by `name` (accepted, stage, sources, token, restart, done, error).

    Of the self-test: progress, report, error.
    """

    name: str
    data: dict[str, Any]


class AcceptedJob(Answered):
    job_id: str
    name: str


class Progress(Answered):
    """Chunks."""

    done: int = 0
    total: int = 0


class Waiting(Answered):
    """Why a job is not done yet, in words."""

    state: str
    detail: str


class Job(Answered):
    state: str
    progress: Progress = Progress()
    attempt: int = 1
    error: str | None = None
    waiting: Waiting | None = None

    @field_validator("error", mode="before")
    @classmethod
    def _detail(cls, error: Any) -> Any:
        return error.get("detail") if isinstance(error, dict) else error  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

    @property
    def ended(self) -> bool:
        return self.state in ("done", "deleted", "failed")


class Document(Answered):
    id: str
    title: str
    access_level: Level
    name: str = ""
    state: str = ""
    chunk_count: int | None = None


class Fix(Answered):
    id: str
    state: str
    error: str | None = None

    @property
    def settled(self) -> bool:
        return self.state in ("active", "failed", "withdrawing", "withdrawn")


class Bucket(Answered):
    """How many log lines lie between `time` and the next bucket."""

    time: datetime
    count: int


class LogHit(BaseModel):
    """A log line: the four fields that every line has, and whatever else it carries."""

    model_config = ConfigDict(frozen=True, extra="allow")

    time: datetime
    level: str = ""
    service: str = ""
    event: str = ""


class LogPage(Answered):
    total: int
    took_ms: float = 0
    hits: tuple[LogHit, ...] = ()
    warnings: tuple[str, ...] = ()
    histogram: tuple[Bucket, ...] | None = None


class AccessRecord(Answered):
    """A record of the audit log; a retrieval's `target` is its question's request."""

    at: datetime
    actor: str
    action: str
    target: str
    detail: dict[str, Any] = {}


class Why(Answered):
    """Why somebody may see a document or fix now, or not; no level: it is gone. Records, the newest first."""

    person: str
    clearance: Level
    document: str
    access_level: Level | None = None
    may_see: bool
    rule: str
    given: tuple[AccessRecord, ...] = ()
    changes: tuple[AccessRecord, ...] = ()


class Sighting(Answered):
    asker: str
    call: str
    canary: str


class Trespass(Answered):
    asker: str
    call: str
    status: int


class Way(Answered):
    """One way in: how often it was asked, and what came of it. Nothing of it was shown where it is `untried`."""

    way: str
    requests: int = 0
    seen: tuple[Sighting, ...] = ()
    trespasses: tuple[Trespass, ...] = ()
    untried: tuple[str, ...] = ()

    @property
    def leaked(self) -> bool:
        return bool(self.seen or self.trespasses)

    @property
    def held(self) -> bool:
        return not (self.leaked or self.untried)


class LeakReport(Answered):
    ways: int
    canaries_seen: int
    trespasses: int
    untried: int
    lost: tuple[str, ...] = ()
    tried: tuple[Way, ...] = ()

    @property
    def leaks(self) -> bool:
        return bool(self.canaries_seen or self.trespasses or self.lost)

    @property
    def clean(self) -> bool:
        return not (self.leaks or self.untried)


class FieldError(Answered):
    field: str = ""
    message: str = ""


class Problem(Answered):
    """An error as the gateway tells it (RFC 9457)."""

    type: str = "about:blank"
    title: str = "Something went wrong"
    status: int = 500
    detail: str = ""
    errors: tuple[FieldError, ...] = Field(default=())
    request_id: str | None = None

    @property
    def kind(self) -> str:
        """The last part of the type: `urn:sluice:problem:tenant-needed` is `tenant-needed`."""
        return self.type.rpartition(":")[2]

    @property
    def lines(self) -> list[str]:
        """What to tell the person: the detail, then a line a field."""
        return [self.detail or self.title, *(f"{error.field}: {error.message}".strip(": ") for error in self.errors)]
