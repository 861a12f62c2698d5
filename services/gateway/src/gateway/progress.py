"""How a job goes on: only ever forward, and once it is at its end it stays there."""

from dataclasses import replace
from datetime import datetime

from gateway.records import Document, DocumentState, Job
from sluice.access import Level
from sluice.messages import DocumentProgress, JobState

_ORDER = [JobState.QUEUED, JobState.FETCHING, JobState.PARSING, JobState.EMBEDDING, JobState.INDEXING]


def goes_forward(job: Job, message: DocumentProgress) -> bool:
    """Whether the message tells something later than what is known; messages may come twice and out of order."""
    if job.state.terminal or job.state is JobState.SETTLING:
        return False
    if message.state in (JobState.DONE, JobState.DELETED):
        return True  # what is done is done, also when a later run or attempt was begun meanwhile
    if message.run != job.run:
        return False
    if message.attempt < job.attempt:
        return False
    if message.state.terminal or message.attempt > job.attempt:
        return True
    return (_rank(message.state), message.done) > (_rank(job.state, waiting=True), job.done)


def may_begin_again(job: Job, document: Document) -> bool:
    """Whether the job has not done its work, and nothing newer on the document took its place."""
    if job.state in (JobState.DONE, JobState.DELETED) or job.generation != document.generation:
        return False
    return (document.state is DocumentState.DELETING) == (job.kind == "delete")


def begun_again(job: Job, at: datetime) -> Job:
    """The job as new, to be sent under another message id; what its former run still tells is not heard."""
    fresh = replace(job, state=JobState.QUEUED, attempt=1, done=0, total=0, error=None)
    return replace(fresh, run=job.run + 1, published_at=None, updated_at=at)


def state_after(document: Document, message: DocumentProgress) -> DocumentState | None:
    """The document's state after the message; None when that says nothing about it."""
    if document.state is DocumentState.DELETING:
        return None
    return {JobState.DONE: DocumentState.DONE, JobState.FAILED: DocumentState.FAILED}.get(message.state)


def after_done(job: Job) -> JobState:
    """A document that became INTERNAL is done when nobody can be answered from its EXTERNAL rows any more."""
    return JobState.SETTLING if job.access_level is Level.INTERNAL else JobState.DONE


def _rank(state: JobState, *, waiting: bool = False) -> int:
    """A job that waits for its next attempt may begin anew; the news that it waits comes after all of its attempt."""
    if state is JobState.RETRYING:
        return -1 if waiting else len(_ORDER)
    return _ORDER.index(state)
