"""POST /api/v1/knowledge/documents: many files and URLs in one multipart form."""

import unicodedata
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, UploadFile
from pydantic import BaseModel, ConfigDict, HttpUrl, TypeAdapter, ValidationError

from gateway.errors import InvalidInputError, TooLargeError
from gateway.routes.dependencies import ServicesIn, Uploader
from gateway.routes.schemas import Output
from gateway.settings import GatewaySettings
from gateway.submit import Upload
from sluice.access import Level
from sluice.errors import AccessDeniedError

PATH = "/api/v1/knowledge/documents"
_MAX_NAME = 200
_MAX_URL = 2000
_URL: TypeAdapter[HttpUrl] = TypeAdapter(HttpUrl)


class UploadForm(BaseModel):
    """`files` or `urls` or both; people of EXTERNAL clearance must say EXTERNAL."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    files: list[UploadFile] = []
    urls: list[str] = []
    access_level: Level = Level.INTERNAL


class JobAccepted(Output):
    job_id: str
    document_id: str
    name: str


class Accepted(Output):
    jobs: list[JobAccepted]


def create_router(settings: GatewaySettings) -> APIRouter:
    router = APIRouter(tags=["knowledge"])

    @router.post(PATH, status_code=HTTPStatus.ACCEPTED)
    async def post_documents(
        form: Annotated[UploadForm, Form(media_type="multipart/form-data")], uploader: Uploader, services: ServicesIn
    ) -> Accepted:
        """A job a document. The same name, level and bytes as before: done at once."""
        if form.access_level not in uploader.clearance.readable:
            raise AccessDeniedError(f"you cannot write {form.access_level} documents")
        names = _check(form, settings)
        accepted: list[JobAccepted] = []
        for name, source in zip(names, [*form.files, *form.urls], strict=True):
            upload = Upload(name=name, data=None if isinstance(source, str) else await source.read())
            document, job = await services.submit(uploader, upload, form.access_level)
            accepted.append(JobAccepted(job_id=job.id, document_id=document.id, name=name))
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
