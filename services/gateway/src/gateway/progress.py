"""How a job goes on: only ever forward, and once it is at its end it stays there."""

from gateway.records import Document, DocumentState, Job
from sluice.messages import DocumentProgress, JobState

_ORDER = [JobState.QUEUED, JobState.FETCHING, JobState.PARSING, JobState.EMBEDDING, JobState.INDEXING]


def goes_forward(job: Job, message: DocumentProgress) -> bool:
    """Whether the message tells something later than what is known; messages may come twice and out of order."""
    if job.state.terminal:
        return False
    if message.state in (JobState.DONE, JobState.DELETED):
        return True  # what is done is done, also when a later attempt was begun meanwhile
    if message.attempt < job.attempt:
        return False
    if message.state.terminal or message.attempt > job.attempt:
        return True
    return (_rank(message.state), message.done) > (_rank(job.state, waiting=True), job.done)


def state_after(document: Document, message: DocumentProgress) -> DocumentState | None:
    """The document's state after the message; None when that says nothing about it."""
    if document.state is DocumentState.DELETING:
        return None
    return {JobState.DONE: DocumentState.DONE, JobState.FAILED: DocumentState.FAILED}.get(message.state)


def _rank(state: JobState, *, waiting: bool = False) -> int:
    """A job that waits for its next attempt may begin anew; the news that it waits comes after all of its attempt."""
    if state is JobState.RETRYING:
        return -1 if waiting else len(_ORDER)
    return _ORDER.index(state)
