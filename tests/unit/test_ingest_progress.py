"""How often progress is told."""

from ingest_worker.progress import Progress
from sluice.access import Level
from sluice.messages import DocumentProgress, DocumentReference, DocumentSubmitted, JobState, Message
from tests.support.identity import Office

DOCUMENT = DocumentReference(document_id="d", generation=3, access_level=Level.EXTERNAL, title="a.txt")


async def test_each_state_is_told_at_once_and_counts_four_times_a_second(office: Office) -> None:
    told: list[Message] = []
    now = 0.0

    async def publish(message: Message) -> None:
        told.append(message)

    message = office.message(DocumentSubmitted, document=DOCUMENT)
    progress = Progress(publish, message, attempt=2, clock=lambda: now)
    await progress(JobState.PARSING)
    for done in range(101):
        now += 0.01
        await progress(JobState.EMBEDDING, done=done, total=100)
    await progress(JobState.INDEXING, done=100, total=100)
    said = [(p.state, p.done, p.total) for p in told if isinstance(p, DocumentProgress)]
    assert said == [
        (JobState.PARSING, 0, 0),
        *((JobState.EMBEDDING, done, 100) for done in (0, 25, 50, 75, 100)),
        (JobState.INDEXING, 100, 100),
    ]


async def test_a_report_belongs_to_its_job_document_and_attempt_and_its_copy_has_the_same_id(office: Office) -> None:
    told: list[Message] = []

    async def publish(message: Message) -> None:
        told.append(message)

    message = office.message(DocumentSubmitted, document=DOCUMENT)
    for attempt in (1, 1, 2):
        await Progress(publish, message, attempt)(JobState.PARSING)
    first, copy, retry = told
    assert isinstance(first, DocumentProgress)
    assert (first.request_id, first.document, first.attempt) == (message.request_id, DOCUMENT, 1)
    assert first.message_id == copy.message_id != retry.message_id
