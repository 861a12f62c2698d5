"""POST /api/v1/knowledge/documents: many files and URLs in one multipart form."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Depends, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.datastructures import FormData
from starlette.datastructures import UploadFile as StarletteUploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from gateway.errors import InvalidInputError, TooLargeError
from gateway.naming import file_name, web_address
from gateway.records import Document, Job
from gateway.routes.dependencies import ServicesIn, Uploader
from gateway.routes.keyed import KeyedIn
from gateway.routes.schemas import Output
from gateway.settings import GatewaySettings
from gateway.submit import Upload
from sluice.access import Level
from sluice.errors import AccessDeniedError

PATH = "/api/v1/knowledge/documents"
_LISTS = ("files", "urls")
_BLOCK = 1024 * 1024
_NO_LEVEL = ("access_level", "")


class UploadForm(BaseModel):
    """`files` or `urls` or both; people of EXTERNAL clearance must say EXTERNAL."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    files: list[UploadFile] = []
    urls: list[str] = []
    access_level: Level = Level.INTERNAL


_SCHEMA = UploadForm.model_json_schema(ref_template="#/components/schemas/{model}")
_DESCRIBED: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": {"schema": {k: v for k, v in _SCHEMA.items() if k != "$defs"}}},
    }
}


async def _upload_form(request: Request, _: Uploader) -> AsyncIterator[UploadForm]:
    """The form of someone who may upload. Nobody else's body is read: it may be large, and takes memory and disk."""
    try:
        form = await request.form()
    except (ClientDisconnect, ValueError, LookupError) as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "the form cannot be read") from error
    try:
        yield _validated(form)
    finally:
        await form.close()


def _validated(form: FormData) -> UploadForm:
    lists: dict[str, Any] = {name: [v for v in form.getlist(name) if not _left_out(v)] for name in _LISTS}
    others = {name: value for name, value in form.items() if name not in _LISTS and (name, value) != _NO_LEVEL}
    try:
        return UploadForm.model_validate(lists | others)
    except ValidationError as error:
        told = error.errors(include_url=False, include_input=False)
        raise RequestValidationError([{**item, "loc": ("body", *item["loc"])} for item in told]) from error


def _left_out(value: object) -> bool:
    """What a browser sends for a file input that nothing was chosen in."""
    return isinstance(value, StarletteUploadFile) and not value.filename and not value.size


class JobAccepted(Output):
    job_id: str
    document_id: str
    name: str


class Accepted(Output):
    jobs: list[JobAccepted]


def create_router(settings: GatewaySettings) -> APIRouter:
    router = APIRouter(tags=["knowledge"])

    @router.post(
        PATH,
        status_code=HTTPStatus.ACCEPTED,
        openapi_extra=_DESCRIBED,
        responses={422: {"description": "Which field is wrong, and why."}},
    )
    async def post_documents(
        uploader: Uploader, keyed: KeyedIn, form: Annotated[UploadForm, Depends(_upload_form)], services: ServicesIn
    ) -> Accepted:
        """A job a document. The same name, level and bytes as before: done at once."""
        if form.access_level not in uploader.clearance.readable:
            raise AccessDeniedError(f"you cannot write {form.access_level} documents")
        names = _check(form, settings)
        bulk = len(names) > settings.interactive_documents
        sources = list(zip(names, [*form.files, *form.urls], strict=True))
        claim = await keyed.claim(uploader, await _asked(sources, form.access_level)) if keyed.given else None
        if claim and claim.settled:
            found = [await services.submit.find_job(uploader, claim.id(number)) for number in range(len(names))]
            return Accepted(jobs=[_accepted(document, job) for job, document in found])
        accepted: list[JobAccepted] = []
        async with services.limits.room(services.limits.documents, uploader.tenant.id, len(names)):
            if len(names) > 1:
                await services.catalog.check_storage(uploader.tenant.id, sum(file.size or 0 for file in form.files))
            for number, (name, source) in enumerate(sources):
                upload = Upload(name=name, data=None if isinstance(source, str) else await source.read())
                job_id = claim.id(number) if claim else None
                made = await services.submit(uploader, upload, form.access_level, job_id=job_id, bulk=bulk)
                accepted.append(_accepted(*made))
        await keyed.settle(claim)
        services.dispatch.wake()
        return Accepted(jobs=accepted)

    return router


async def _asked(sources: Sequence[tuple[str, UploadFile | str]], level: Level) -> list[Any]:
    """What the form asks for, without the boundaries and names that a client makes anew each time."""
    named: list[Any] = []
    for name, source in sources:
        if isinstance(source, str):
            named.append(name)
        else:
            named.append([name, await asyncio.to_thread(_sha256, source.file)])
    return [level, named]


def _sha256(file: BinaryIO) -> str:
    """Of what comes; the file stands at its beginning again."""
    hashed = hashlib.sha256()
    while block := file.read(_BLOCK):
        hashed.update(block)
    file.seek(0)
    return hashed.hexdigest()


def _accepted(document: Document, job: Job) -> JobAccepted:
    return JobAccepted(job_id=job.id, document_id=document.id, name=document.name)


def _check(form: UploadForm, settings: GatewaySettings) -> list[str]:
    """The name that each document is to have; all is looked at before anything is accepted."""
    if not form.files and not form.urls:
        raise InvalidInputError("files", "send at least one file or URL")
    if len(form.files) + len(form.urls) > settings.max_files:
        raise InvalidInputError("files", f"send at most {settings.max_files} files and URLs at once")
    return [_file_name(number, file, settings) for number, file in enumerate(form.files)] + [
        web_address(f"urls.{number}", url) for number, url in enumerate(form.urls)
    ]


def _file_name(number: int, file: UploadFile, settings: GatewaySettings) -> str:
    field = f"files.{number}"
    if not file.size:
        raise InvalidInputError(field, "the file is empty")
    if file.size > settings.max_file_bytes:
        raise TooLargeError(f"a file may have at most {settings.max_file_bytes // 1024 // 1024} MB")
    return file_name(field, file.filename or "")
