"""Every error as problem+json (RFC 9457), with the field that is wrong and never with its value."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from math import ceil
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gateway.errors import NotFoundError, NotSignedInError, TooManyAttemptsError
from gateway.records import Principal
from gateway.refusals import record_denial
from gateway.services import Services
from sluice.errors import AccessDeniedError, SluiceError, TransientError

logger = logging.getLogger(__name__)
_PLACES = ("body", "query", "path", "header")
_MAX_NAME = 100


class ProblemResponse(JSONResponse):
    media_type = "application/problem+json"


def install(app: FastAPI) -> None:
    app.add_exception_handler(SluiceError, _on_sluice_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


def problem(
    request_id: str, status: HTTPStatus, detail: str, *, errors: list[dict[str, str]] | None = None, kind: str = ""
) -> dict[str, Any]:
    """`kind` ends the type's URN; by default it is the status's name."""
    kind = kind or status.phrase.lower().replace(" ", "-")
    return {
        "type": f"urn:sluice:problem:{kind}",
        "title": kind.replace("-", " ").capitalize(),
        "status": int(status),
        "detail": detail,
        "errors": errors or [],
        "request_id": request_id,
    }


def respond(body: dict[str, Any], headers: Mapping[str, str] | None = None) -> ProblemResponse:
    """The problem as an answer; one that came from a worker keeps its status."""
    return ProblemResponse(body, status_code=int(body["status"]), headers=headers)


def _request_id(request: Request) -> str:
    return str(request.state.request_id)


async def _on_sluice_error(request: Request, error: Exception) -> ProblemResponse:
    error = cast(SluiceError, error)
    headers: dict[str, str] = {}
    if isinstance(error, AccessDeniedError | NotFoundError):
        await _note(request, error)
    if isinstance(error, NotSignedInError):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TooManyAttemptsError | TransientError):
        after = error.retry_after if isinstance(error, TransientError) else None
        headers["Retry-After"] = str(ceil(after.total_seconds())) if after else "30"
    return respond(error.problem(_request_id(request)), headers)


async def _note(request: Request, error: SluiceError) -> None:
    """In the audit log of whoever was refused. One that cannot be written now refuses all the same."""
    principal: Principal | None = getattr(request.state, "principal", None)
    if principal is None:
        return
    services: Services = request.app.state.services
    asked = f"{request.method} {request.url.path}"
    try:
        await record_denial(services.audit, principal, asked, error, datetime.now(UTC))
    except SluiceError as unwritten:
        logger.error("audit.refusal-unwritten", exc_info=unwritten)


async def _on_invalid(request: Request, error: Exception) -> ProblemResponse:
    errors = [
        {"field": _field(item["loc"]), "message": str(item["msg"])[:500]}
        for item in cast(RequestValidationError, error).errors()
    ]
    detail = "the request has fields that are not as they must be"
    return respond(
        problem(_request_id(request), HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=errors, kind="invalid-input")
    )


async def _on_http(request: Request, error: Exception) -> ProblemResponse:
    error = cast(HTTPException, error)
    status = HTTPStatus(error.status_code)
    return respond(problem(_request_id(request), status, status.description or status.phrase), error.headers)


def _field(location: tuple[str | int, ...]) -> str:
    """`body.rights.0` as `rights.0`; a body that is no JSON at all is `body`."""
    names = [str(part) for part in location]
    if len(names) > 1 and names[0] in _PLACES:
        names = names[1:]
    if len(names) == 1 and names[0].isdigit():
        names = ["body"]
    return ".".join(names)[:_MAX_NAME]
