"""Which service puts each message on its stream, and which takes it off: the table that the documents are made of."""

from dataclasses import dataclass

from sluice.access import Level
from sluice.messages import (
    AnswerCompleted,
    BulkDocumentSubmitted,
    DocumentDeleted,
    DocumentOffered,
    DocumentProgress,
    DocumentSubmitted,
    FixIndexed,
    FixTaught,
    FixWithdrawn,
    IndexDamaged,
    IndexProgress,
    IndexRebuilt,
    IndexVerified,
    LogsSearched,
    Message,
    PassportRefused,
    QuestionAsked,
    QuestionFollowedUp,
    QuestionGrounded,
    RetrievalRecorded,
    Unsigned,
)

PRODUCER = "bulk producer"
"""Whoever holds an API key: no service of ours."""
EVERY_SERVICE = ("gateway", "ingest-worker", "retriever", "llm-router", "log-bridge")


@dataclass(frozen=True)
class Flow:
    """One kind of message on its way. The receiver is the consumer group too."""

    kind: type[Message] | type[Unsigned]
    senders: tuple[str, ...]
    receiver: str
    carries: str

    @property
    def laned(self) -> bool:
        return issubclass(self.kind, Message) and self.kind.laned

    @property
    def streams(self) -> tuple[str, ...]:
        return self.kind.streams() if issubclass(self.kind, Message) else (self.kind.stream,)

    def streams_of(self, lane: Level | None) -> tuple[str, ...]:
        """Those of one lane; without a lane all of them."""
        return (self.kind.stream_of(lane),) if lane and issubclass(self.kind, Message) else self.streams

    @property
    def address(self) -> str:
        return f"{self.kind.stream}.{{lane}}" if self.laned else self.kind.stream


FLOWS: tuple[Flow, ...] = (
    Flow(QuestionFollowedUp, ("gateway",), "llm-router", "a question that rests on earlier turns"),
    Flow(QuestionAsked, ("gateway", "llm-router"), "retriever", "a question that stands alone"),
    Flow(QuestionGrounded, ("retriever",), "llm-router", "the question with its passages"),
    Flow(RetrievalRecorded, ("retriever",), "gateway", "which passages were found, for the audit log"),
    Flow(AnswerCompleted, ("llm-router",), "gateway", "the whole answer, to keep"),
    Flow(DocumentOffered, (PRODUCER,), "gateway", "a document that a bulk producer offers"),
    Flow(DocumentSubmitted, ("gateway",), "ingest-worker", "a document to read"),
    Flow(BulkDocumentSubmitted, ("gateway",), "ingest-worker", "a document of many, to read"),
    Flow(DocumentDeleted, ("gateway",), "ingest-worker", "a document to remove"),
    Flow(DocumentProgress, ("ingest-worker",), "gateway", "how far a job is"),
    Flow(FixTaught, ("gateway",), "ingest-worker", "an answer that a person taught"),
    Flow(FixWithdrawn, ("gateway",), "ingest-worker", "a fix to forget"),
    Flow(FixIndexed, ("ingest-worker",), "gateway", "what became of a fix"),
    Flow(LogsSearched, ("gateway",), "log-bridge", "a log search"),
    Flow(IndexDamaged, ("ingest-worker",), "gateway", "a collection that was found to be damaged"),
    Flow(IndexRebuilt, ("gateway",), "ingest-worker", "a collection to make anew"),
    Flow(IndexVerified, ("gateway",), "ingest-worker", "a collection to compare with the blob store"),
    Flow(IndexProgress, ("ingest-worker",), "gateway", "how far its rebuilding or comparing is"),
    Flow(PassportRefused, EVERY_SERVICE, "gateway", "a passport that was not good for its message"),
)

GROUPS: dict[str, str] = {stream: flow.receiver for flow in FLOWS for stream in flow.streams}
"""The consumer group of every stream there is."""
