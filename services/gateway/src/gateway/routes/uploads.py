"""POST /api/v1/knowledge/documents: many files and URLs in one multipart form."""

import unicodedata
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, HttpUrl, TypeAdapter, ValidationError
from starlette.datastructures import FormData
from starlette.datastructures import UploadFile as StarletteUploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from gateway.errors import InvalidInputError, TooLargeError
from gateway.routes.dependencies import ServicesIn, Uploader
from gateway.routes.schemas import Output
from gateway.settings import GatewaySettings
from gateway.submit import Upload
from sluice.access import Level
from sluice.errors import AccessDeniedError

PATH = "/api/v1/knowledge/documents"
_LISTS = ("files", "urls")
_NO_LEVEL = ("access_level", "")
_MAX_NAME = 200
_MAX_URL = 2000
_URL: TypeAdapter[HttpUrl] = TypeAdapter(HttpUrl)


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
        form: Annotated[UploadForm, Depends(_upload_form)], uploader: Uploader, services: ServicesIn
    ) -> Accepted:
        """A job a document. The same name, level and bytes as before: done at once."""
        if form.access_level not in uploader.clearance.readable:
            raise AccessDeniedError(f"you cannot write {form.access_level} documents")
        names = _check(form, settings)
        bulk = len(names) > settings.interactive_documents
        accepted: list[JobAccepted] = []
        async with services.limits.room(services.limits.documents, uploader.tenant.id, len(names)):
            for name, source in zip(names, [*form.files, *form.urls], strict=True):
                upload = Upload(name=name, data=None if isinstance(source, str) else await source.read())
                document, job = await services.submit(uploader, upload, form.access_level, bulk=bulk)
                accepted.append(JobAccepted(job_id=job.id, document_id=document.id, name=name))
        services.dispatch.wake()
        return Accepted(jobs=accepted)

    return router


def _check(form: UploadForm, settings: GatewaySettings) -> list[str]:
    """The name that each document is to have; all is looked at before anything is accepted."""
    if not form.files and not form.urls:
        raise InvalidInputError("files", "send at least one file or URL")
    if len(form.files) + len(form.urls) > settings.max_files:
        raise InvalidInputError("files", f"send at most {settings.max_files} files and URLs at once")
    return [_file_name(number, file, settings) for number, file in enumerate(form.files)] + [
        _url(number, url) for number, url in enumerate(form.urls)
    ]


def _file_name(number: int, file: UploadFile, settings: GatewaySettings) -> str:
    """The name without any folder; it is shown, and never a path of ours."""
    field = f"files.{number}"
    if not file.size:
        raise InvalidInputError(field, "the file is empty")
    if file.size > settings.max_file_bytes:
        raise TooLargeError(f"a file may have at most {settings.max_file_bytes // 1024 // 1024} MB")
    last = unicodedata.normalize("NFC", file.filename or "").replace("\\", "/").rpartition("/")[2]
    name = "".join(char for char in last if unicodedata.category(char)[0] != "C").strip()
    if not name.strip("."):
        raise InvalidInputError(field, "the file needs a name")
    return name[-_MAX_NAME:]


def _url(number: int, url: str) -> str:
    field = f"urls.{number}"
    if len(url) > _MAX_URL:
        raise InvalidInputError(field, f"must have at most {_MAX_URL} characters")
    try:
        parsed = _URL.validate_python(url.strip())
    except ValidationError as error:
        raise InvalidInputError(field, "must be an http or https URL") from error
    if parsed.username or parsed.password:
        raise InvalidInputError(field, "must not have credentials in it")
    return str(parsed)
