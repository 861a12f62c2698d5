"""The sample documents in the running system: uploaded, and waited for."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from sluice.access import Level
from sluice.cli.demo.corpus import Sample
from sluice.cli.gateway import Gateway
from sluice.errors import TransientError
from sluice.messages import JobState

_PATIENCE_SECONDS = 180
_PAUSE_SECONDS = 0.2


def ensure_documents(api: Gateway, samples: Sequence[Sample], say: Callable[[str], None]) -> dict[str, str]:
    """The state of each sample by its name, once all work on them has ended; what is there already is done at once.

    Raises:
        TransientError: some job has not ended after 3 minutes.
    """
    jobs: dict[str, str] = {}
    for level in Level:
        chosen = [sample for sample in samples if sample.level is level]
        say(f"uploading {len(chosen)} {level} documents")
        jobs |= _upload(api, chosen, level)
    return _wait(api, jobs, say)


def _upload(api: Gateway, samples: Sequence[Sample], level: Level) -> dict[str, str]:
    """The job of each document, by the document's name."""
    files = [(sample.name, sample.content) for sample in samples]
    answer = api.upload("/knowledge/documents", files, {"access_level": level})
    return {job["name"]: job["job_id"] for job in answer["jobs"]}


def _wait(api: Gateway, jobs: dict[str, str], say: Callable[[str], None]) -> dict[str, str]:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    states: dict[str, str] = {}
    for name, job_id in jobs.items():
        job = _end_of(api, job_id, deadline)
        if job is None:
            raise TransientError(f"{name} was not ready after {_PATIENCE_SECONDS} s; see the ingest-worker's log")
        states[name] = job["state"]
        say(f"  {name}: {job['state']}{_reason(job)}")
    return states


def _end_of(api: Gateway, job_id: str, deadline: float) -> dict[str, Any] | None:
    """The job once it has ended; None if that is not before the deadline."""
    while time.monotonic() < deadline:
        job: dict[str, Any] = api.get(f"/knowledge/jobs/{job_id}")
        if JobState(job["state"]).terminal:
            return job
        time.sleep(_PAUSE_SECONDS)
    return None


def _reason(job: dict[str, Any]) -> str:
    return f" ({job['error']})" if job.get("error") else ""
