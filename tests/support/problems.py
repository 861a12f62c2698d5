"""Errors as the gateway tells them."""

from typing import Any

from starlette.responses import JSONResponse, Response


def problem(kind: str, status: int, detail: str, errors: list[dict[str, str]] | None = None) -> Response:
    return JSONResponse(problem_of(kind, status, detail, errors), status_code=status)


def problem_of(kind: str, status: int, detail: str, errors: list[dict[str, str]] | None = None) -> dict[str, Any]:
    told = {"type": f"urn:sluice:problem:{kind}", "title": kind.replace("-", " ").capitalize(), "status": status}
    return told | {"detail": detail, "errors": errors or [], "request_id": "request-1"}
