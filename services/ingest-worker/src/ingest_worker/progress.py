"""How far a document's job is, told to the gateway."""

import time
from collections.abc import Callable

from ingest_worker.ports import Publish
from sluice.messages import DocumentDeleted, DocumentProgress, DocumentSubmitted, JobState

DocumentMessage = DocumentSubmitted | DocumentDeleted

_SECONDS_BETWEEN = 0.25


class Progress:
    """The `report` of one attempt at one document: each state at once, counts at most four times a second."""

    def __init__(
        self,
        publish: Publish,
        message: DocumentMessage,
        attempt: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._publish = publish
        self._message = message
        self._attempt = attempt
        self._state: JobState | None = None
        self._told_at = 0.0

    async def __call__(self, state: JobState, *, done: int = 0, total: int = 0) -> None:
        now = self._clock()
        if state is self._state and done < total and now - self._told_at < _SECONDS_BETWEEN:
            return
        self._state, self._told_at = state, now
        await self._publish(progress_of(self._message, self._attempt, state, done=done, total=total))


def progress_of(
    message: DocumentMessage,
    attempt: int,
    state: JobState,
    *,
    done: int = 0,
    total: int = 0,
    chunk_count: int | None = None,
    title: str | None = None,
    error: str | None = None,
) -> DocumentProgress:
    """The message that follows, under an id of its cause, attempt, state and count; a job may be sent out again."""
    return message.follow(
        DocumentProgress,
        step=f"{message.message_id}-{attempt}-{state}-{done}",
        document=message.document,
        state=state,
        attempt=attempt,
        done=done,
        total=total,
        chunk_count=chunk_count,
        title=title,
        error=error,
    )
