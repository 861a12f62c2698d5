"""Every message, bound to its stream. A new field has a default; any other change is a new class on a `.v2` stream."""

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar, Literal, TypeVar
from uuid import uuid4

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from sluice.access import Level, digest
from sluice.tracing import current_traceparent

M = TypeVar("M", bound="Message")
DELIVERIES_A_RUN = 1000
"""More than any message has."""


class Part(BaseModel):
    """A part of a message: frozen, unknown fields ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Turn(Part):
    """An earlier question of the conversation, its answer, and the highest level that the answer rests on."""

    question: str
    answer: str
    level: Level = Level.INTERNAL


class Passage(Part):
    """A chunk that the asker may read; `offset` counts characters of the extracted text, `score` is a cosine."""

    chunk_id: str
    document_id: str
    title: str
    access_level: Level
    text: str
    page: int | None = None
    offset: int = 0
    score: float = 0.0
    fix: bool = False


class DocumentReference(Part):
    """One generation of a document; the original lies in the blob store, or is fetched from `url`.

    `moved`: its content is that of the generation before, which may stand at another level.
    """

    document_id: str
    generation: int
    access_level: Level
    title: str
    url: str | None = None
    sha256: str | None = None
    moved: bool = False


class Fix(Part):
    """An answer that a person taught for a question."""

    fix_id: str
    question: str
    answer: str
    access_level: Level


class Usage(Part):
    """Tokens as the provider counted them."""

    input_tokens: int = 0
    output_tokens: int = 0


class Envelope(Part):
    """What anybody who has the stream can read of a message. `request_id` names the request or job.

    `run` counts how often the request was begun: again when its message was lost, or replayed.
    """

    message_id: str = Field(default_factory=lambda: uuid4().hex)
    request_id: str
    tenant: str
    passport: str
    deadline: AwareDatetime
    traceparent: str | None = None
    run: int = 1
    created_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))


class Message(Envelope):
    """The envelope, and behind it what is sealed on its way; the passport is verified before that is opened."""

    stream: ClassVar[str]
    laned: ClassVar[bool] = True
    expires: ClassVar[bool] = True
    """Whether it is dropped after its deadline; what tells how a request ended is not."""
    quotes: ClassVar[bool] = True
    """Whether all but the envelope is sealed: not for a receiver that holds no level's key."""
    bound: ClassVar[tuple[str, ...]]
    """The fields whose digest the passport carries."""

    @property
    def asked(self) -> str:
        return digest_of(type(self), **{name: getattr(self, name) for name in self.bound})

    @classmethod
    def stream_of(cls, lane: Level) -> str:
        return f"{cls.stream}.{lane.lower()}" if cls.laned else cls.stream

    @classmethod
    def streams(cls) -> tuple[str, ...]:
        """All that this kind of message may stand on."""
        return tuple(dict.fromkeys(cls.stream_of(lane) for lane in Level))

    def attempt_of(self, delivery: int) -> int:
        """A delivery's number among those of all runs: what a later run replies comes after what an earlier one did."""
        return (self.run - 1) * DELIVERIES_A_RUN + delivery

    def follow(self, kind: type[M], step: str = "", **fields: Any) -> M:
        """The next message of the same request, its id made from request and step, so that a second copy is known."""
        return kind(
            message_id=message_id_of(kind, self.request_id, step, self.run),
            request_id=self.request_id,
            tenant=self.tenant,
            passport=self.passport,
            deadline=self.deadline,
            traceparent=current_traceparent() or self.traceparent,
            run=self.run,
            **fields,
        )


def message_id_of(kind: type[Message], request_id: str, step: str = "", run: int = 1) -> str:
    """The id of a message, the same however often it is made in one run, so that a second copy is known."""
    return digest([request_id, kind.stream, step, *([run] if run > 1 else [])])[:32]


def digest_of(kind: type[Message], **fields: Any) -> str:
    """The digest of a message's bound fields, as the passport carries it."""
    values = {name: fields[name] for name in kind.bound}
    return digest({name: v.model_dump(mode="json") if isinstance(v, BaseModel) else v for name, v in values.items()})


class QuestionFollowedUp(Message):
    """A question that rests on the turns before; the llm-router makes it stand alone."""

    stream = "questions.followed-up.v1"
    bound = ("question",)
    question: str
    history: tuple[Turn, ...] = ()


class QuestionAsked(Message):
    """A question to find passages for; `search_query` is it in a form that stands alone."""

    stream = "questions.asked.v1"
    bound = ("question",)
    question: str
    search_query: str
    history: tuple[Turn, ...] = ()


class QuestionGrounded(Message):
    """A question with the passages that its asker may read, numbered from 1 in this order.

    `restoring`: a part of what they may read is being restored, and was not looked into.
    """

    stream = "questions.grounded.v1"
    bound = ("question",)
    question: str
    search_query: str
    history: tuple[Turn, ...] = ()
    passages: tuple[Passage, ...] = ()
    restoring: bool = False


class Retrieved(Part):
    """A passage that was found, without its text."""

    passage_id: str
    document_id: str
    access_level: Level
    fix: bool = False


class RetrievalRecorded(Message):
    """Which passages were found for a question, and where was looked, for the audit log: ids and never a text.

    It names what was asked by its digest, as the passport does.
    """

    stream = "audit.retrievals.v1"
    laned = False
    expires = False
    bound = ("question_digest",)
    question_digest: str
    collections: tuple[str, ...] = ()
    passages: tuple[Retrieved, ...] = ()
    restoring: bool = False

    @property
    def asked(self) -> str:
        return self.question_digest


class AnswerCompleted(Message):
    """An answer for the gateway to keep; `level` is the highest of what it rests on, history included."""

    stream = "answers.completed.v1"
    laned = False
    expires = False
    bound = ("question",)
    question: str
    text: str
    tier: str
    finish_reason: Literal["stop", "length", "refused", "cancelled"]
    level: Level
    passages: tuple[Passage, ...] = ()
    citations: tuple[int, ...] = ()
    usage: Usage = Usage()


class DocumentSubmitted(Message):
    """A document to read, cut, embed and index; the request is its job."""

    stream = "documents.submitted.v1"
    bound = ("document",)
    document: DocumentReference


class BulkDocumentSubmitted(DocumentSubmitted):
    """The same for one of many, on a stream of its own: bulk never delays what a person waits for."""

    stream = "documents.submitted.bulk.v1"


class DocumentDeleted(Message):
    """A document to remove from the index and the blob store."""

    stream = "documents.deleted.v1"
    bound = ("document",)
    document: DocumentReference


class JobState(StrEnum):
    QUEUED = "queued"
    FETCHING = "fetching"
    PARSING = "parsing"
    EMBEDDING = "embedding"
    INDEXING = "indexing"
    SETTLING = "settling"
    """Its rows are gone; questions that were asked before may still be answered from them."""
    RETRYING = "retrying"
    DONE = "done"
    DELETED = "deleted"
    FAILED = "failed"

    @property
    def terminal(self) -> bool:
        return self in (JobState.DONE, JobState.DELETED, JobState.FAILED)


class DocumentProgress(Message):
    """How far a document's job is, for the gateway's catalog; `done` of `total` chunks are embedded."""

    stream = "documents.progress.v1"
    laned = False
    expires = False
    bound = ("document",)
    document: DocumentReference
    state: JobState
    attempt: int = 1
    done: int = 0
    total: int = 0
    chunk_count: int | None = None
    title: str | None = None
    error: str | None = None


class FixTaught(Message):
    """An answer to be found first from now on."""

    stream = "fixes.taught.v1"
    bound = ("fix",)
    fix: Fix


class FixWithdrawn(Message):
    """A fix to forget."""

    stream = "fixes.withdrawn.v1"
    bound = ("fix",)
    fix: Fix


class FixIndexed(Message):
    """What became of a fix, for the gateway."""

    stream = "fixes.indexed.v1"
    laned = False
    expires = False
    bound = ("fix",)
    fix: Fix
    state: Literal["active", "withdrawn", "failed"]
    error: str | None = None


class LogsSearched(Message):
    """A log search; times bound the search, the tenant's clause is added by the log-bridge from the passport."""

    stream = "logs.searched.v1"
    laned = False
    quotes = False
    bound = ("query",)
    query: str
    start: AwareDatetime
    end: AwareDatetime
    limit: int = 50
    order: Literal["newest", "oldest"] = "newest"
    cursor: str | None = None
    interval_seconds: int | None = None


class IndexPart(Part):
    """A tenant's collection of one level, and which damage of it is meant; none: the whole as it stands."""

    access_level: Level
    kind: Literal["chunks", "fixes"]
    incident: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,64}$")


class IndexRebuilt(Message):
    """A collection to make anew from the blob store; without an incident also one that is sound."""

    stream = "indexes.rebuilt.v1"
    expires = False
    bound = ("part",)
    part: IndexPart


class IndexVerified(Message):
    """A collection to compare with the blob store."""

    stream = "indexes.verified.v1"
    expires = False
    bound = ("part",)
    part: IndexPart


class IndexProgress(Message):
    """How far a collection's rebuilding or verifying is, for the gateway.

    `rows` have been written, or stand in the index; `missing` of the blob store's chunks or fixes are not among them,
    `extra` are in the index alone. `unusable` could not be read, or were embedded with another model.
    """

    stream = "indexes.progress.v1"
    laned = False
    expires = False
    bound = ("part",)
    part: IndexPart
    state: Literal["rebuilding", "done", "failed"]
    rows: int = 0
    missing: int = 0
    extra: int = 0
    unusable: int = 0
    error: str | None = None


class Unsigned(Part):
    """What comes without a passport, from outside or as a hint: its handler decides what it is worth."""

    stream: ClassVar[str]


class Grant(Part):
    """A bulk producer's proof: HMAC-SHA256 (RFC 2104, hex) over `{key_id}.{time}.{nonce}.{body}`.

    The HMAC's key is the SHA-256 (32 bytes) of the API key. `time` is as it was sent, RFC 3339 with a zone.
    """

    key_id: str = Field(pattern=r"^[A-Za-z0-9-]{1,64}$")
    time: str = Field(pattern=r"^[0-9T:.+-]{10,40}Z?$")
    nonce: str = Field(pattern=r"^[A-Za-z0-9_-]{8,128}$")
    hmac: str = Field(pattern=r"^[0-9a-f]{64}$")


class DocumentOffered(Unsigned):
    """A document that a bulk producer offers: `body` is the offer as JSON text, so that its bytes can be proved."""

    stream = "documents.offered.v1"
    body: str
    grant: Grant


class IndexDamaged(Unsigned):
    """A worker found a collection that cannot be read or written; the gateway has it rebuilt."""

    stream = "indexes.damaged.v1"
    tenant: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    part: IndexPart


class PassportRefused(Unsigned):
    """A worker met a message whose passport is not good for it: a hint for the gateway's audit log, never the passport.

    Anyone could have sent it, so it names nobody, and the gateway writes down a bounded number of them.
    """

    stream = "audit.refusals.v1"
    refused_on: str = Field(pattern=r"^[a-z0-9.-]{1,100}$")
    """The stream that the message stood on."""
    reason: str = Field(pattern=r"^[a-z][a-z-]{0,63}$")
    """The `type` of the error."""
    message_id: str = Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")

    @classmethod
    def of(cls, refused_on: str, reason: str, message_id: str) -> "PassportRefused":
        """A message id that could not be one of ours goes in as its digest: whoever forged it chose it."""
        known = re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", message_id)
        return cls(refused_on=refused_on, reason=reason, message_id=message_id if known else digest(message_id))


MESSAGES: tuple[type[Message], ...] = (
    QuestionFollowedUp,
    QuestionAsked,
    QuestionGrounded,
    RetrievalRecorded,
    AnswerCompleted,
    DocumentSubmitted,
    BulkDocumentSubmitted,
    DocumentDeleted,
    DocumentProgress,
    FixTaught,
    FixWithdrawn,
    FixIndexed,
    LogsSearched,
    IndexRebuilt,
    IndexVerified,
    IndexProgress,
)
UNSIGNED: tuple[type[Unsigned], ...] = (DocumentOffered, IndexDamaged, PassportRefused)
