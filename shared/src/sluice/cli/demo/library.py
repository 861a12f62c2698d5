"""The sample documents in the running system: uploaded unless they are there, and waited for."""

import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from sluice.access import Level
from sluice.cli.demo.corpus import Sample
from sluice.cli.demo.memory import Memory
from sluice.cli.gateway import Gateway, RefusedError
from sluice.errors import TransientError
from sluice.messages import JobState

_PATIENCE_SECONDS = 180
_PAUSE_SECONDS = 0.2


def ensure_documents(
    api: Gateway, samples: Sequence[Sample], memory: Memory, say: Callable[[str], None]
) -> dict[str, str]:
    """The state of each sample by its name, once all work on them has ended.

    Raises:
        TransientError: some job has not ended after 3 minutes.
    """
    states = {sample.name: "done" for sample in samples if _there(api, memory.get("documents", sample.name))}
    jobs: dict[str, str] = {}
    for level in Level:
        missing = [sample for sample in samples if sample.level is level and sample.name not in states]
        if missing:
            say(f"uploading {len(missing)} {level} documents")
            jobs |= _upload(api, missing, level, memory)
    return states | _wait(api, jobs, say)


def _there(api: Gateway, document_id: str | None) -> bool:
    if document_id is None:
        return False
    try:
        return api.get(f"/knowledge/documents/{document_id}")["state"] == JobState.DONE
    except RefusedError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return False
        raise


def _upload(api: Gateway, samples: Sequence[Sample], level: Level, memory: Memory) -> dict[str, str]:
    """The job of each document, by the document's name."""
    files = [(sample.name, sample.content) for sample in samples]
    answer = api.upload("/knowledge/documents", files, {"access_level": level})
    for job in answer["jobs"]:
        memory.keep("documents", job["name"], job["document_id"])
    return {job["name"]: job["job_id"] for job in answer["jobs"]}


def _wait(api: Gateway, jobs: dict[str, str], say: Callable[[str], None]) -> dict[str, str]:
    states: dict[str, str] = {}
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while waiting := [name for name in jobs if name not in states]:
        if time.monotonic() > deadline:
            raise TransientError(
                f"not ready after {_PATIENCE_SECONDS} s: {', '.join(waiting)}; see the ingest-worker's log"
            )
        for name in waiting:
            job: dict[str, Any] = api.get(f"/knowledge/jobs/{jobs[name]}")
            if JobState(job["state"]).terminal:
                states[name] = job["state"]
                say(f"  {name}: {job['state']}{_reason(job)}")
        time.sleep(_PAUSE_SECONDS)
    return states


def _reason(job: dict[str, Any]) -> str:
    return f" ({job['error']})" if job.get("error") else ""
