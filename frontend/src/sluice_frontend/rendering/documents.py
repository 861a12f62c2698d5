"""The upload form, the rows of what is being read, and the list of documents."""

from collections.abc import Sequence

from sluice_frontend.models import AcceptedJob, Document, Job
from sluice_frontend.rendering.text import badge, inert

UPLOAD_FORM = """<form id="upload-form" enctype="multipart/form-data">
<h2>Add documents</h2>
<label for="upload-files">Files</label>
<input id="upload-files" name="files" type="file" multiple
  accept=".pdf,.docx,.csv,.txt,.md,.html,.htm" aria-describedby="upload-help">
<p id="upload-help" class="meta">PDF, DOCX, CSV, TXT, Markdown, HTML; several at once, or dropped here</p>
<label for="upload-urls">Web addresses, one a line</label>
<textarea id="upload-urls" name="urls" rows="3" placeholder="https://"></textarea>
<fieldset><legend>Who may read these documents</legend>
<label><input type="radio" name="access_level" value="INTERNAL" checked> INTERNAL: staff only</label>
<label><input type="radio" name="access_level" value="EXTERNAL"> EXTERNAL: customers as well</label></fieldset>
<button type="submit" class="primary">Add documents</button>
<div id="upload-message" role="status"></div>
</form>"""


def render_jobs(accepted: Sequence[AcceptedJob], jobs: Sequence[Job]) -> str:
    rows = "".join(_row(known.name, job) for known, job in zip(accepted, jobs, strict=True))
    return f'<h2>In progress</h2><ul class="rows">{rows}</ul>'


def render_documents(documents: Sequence[Document]) -> str:
    rows = "".join(_document(document) for document in documents if document.state != "deleted")
    return f"<h2>Documents</h2>{_table(rows) if rows else '<p>There are no documents yet.</p>'}"


def _row(name: str, job: Job) -> str:
    return (
        f'<li class="job job-{inert(job.state)}"><span class="name">{inert(name)}</span>'
        f'<progress aria-label="Progress of {inert(name)}" max="100" value="{_percent(job)}"></progress>'
        f'<span class="state">{inert(_state(job))}</span></li>'
    )


def _percent(job: Job) -> int:
    if job.state == "done":
        return 100
    return 100 * job.progress.done // job.progress.total if job.progress.total else 0


def _state(job: Job) -> str:
    if job.state == "failed":
        return f"failed: {job.error or 'no reason given'}"
    if job.waiting and job.waiting.state != "running":
        return f"{job.state}: {job.waiting.detail}"
    if job.state == "retrying":
        return f"trying again, attempt {job.attempt}: {job.error or 'a passing failure'}"
    counted = f" {job.progress.done} of {job.progress.total}" if job.progress.total and not job.ended else ""
    return f"{job.state}{counted}"


def _table(rows: str) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Title", "Level", "State", "Chunks"))
    head += '<th scope="col"><span class="unseen">Delete</span></th>'
    return f'<table class="documents"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _document(document: Document) -> str:
    chunks = "" if document.chunk_count is None else str(document.chunk_count)
    title = inert(document.title)
    return (
        f'<tr><td class="name">{title}</td><td>{badge(document.access_level)}</td><td>{inert(document.state)}</td>'
        f'<td>{chunks}</td><td><button type="button" class="quiet" data-send="delete" data-id="{inert(document.id)}"'
        f' data-confirm="Delete {title}?" aria-label="Delete {title}">Delete</button></td></tr>'
    )
