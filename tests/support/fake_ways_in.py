"""The gateway's ways in, beside passwords, as the page uses them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.problems import problem

INVITED = "ruth@razorpay.com"


@dataclass
class FakeWaysIn:
    """`let_in` answers as for the first person."""

    let_in: Callable[[dict[str, Any]], Response]
    refusals: dict[str, dict[str, Any]]
    issuers: dict[str, str] = field(default_factory=dict)
    """Where each sends browsers. The code `good` is the first person's."""
    begun: list[dict[str, str]] = field(default_factory=list)
    finished: list[dict[str, str]] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    """Links; the one called `good-link` is the first person's."""
    asked_for: list[dict[str, str]] = field(default_factory=list)
    """What was to be mailed."""

    def routes(self) -> list[Route]:
        return [
            Route("/api/v1/auth/ways", self._ways),
            Route("/api/v1/auth/links/{what}", self._link, methods=["POST"]),
            Route("/api/v1/auth/forgotten", self._ask_for, methods=["POST"]),
            Route("/api/v1/auth/sign-up", self._ask_for, methods=["POST"]),
            Route("/api/v1/auth/oidc/{name}/begin", self._begin, methods=["POST"]),
            Route("/api/v1/auth/oidc/{name}/finish", self._finish, methods=["POST"]),
        ]

    async def _ways(self, request: Request) -> Response:
        if refusal := self.refusals.get(request.url.path):
            return JSONResponse(refusal, status_code=refusal["status"])
        return JSONResponse({"issuers": self._issuers(), "forgotten": True, "sign_up": True})

    def _issuers(self) -> list[dict[str, str]]:
        return [{"name": name, "title": name.title()} for name in self.issuers]

    async def _link(self, request: Request) -> Response:
        body = await request.json()
        if body["token"] != "good-link":
            return problem("not-found", 404, "This link is used up.")
        if request.path_params["what"] == "look":
            told = {"purpose": "invitation", "email": INVITED, "tenant": "Globex"}
            return JSONResponse(told | {"issuers": self._issuers()})
        if len(body["new_password"]) < 12:
            return problem("invalid-input", 422, "Wrong.", [{"field": "new_password", "message": "too short"}])
        self.used.append(body["token"])
        return self.let_in(body)

    async def _ask_for(self, request: Request) -> Response:
        if refusal := self.refusals.get(request.url.path):
            return JSONResponse(refusal, status_code=refusal["status"])
        self.asked_for.append(await request.json())
        return JSONResponse(None, status_code=202)

    async def _begin(self, request: Request) -> Response:
        self.begun.append(await request.json())
        address = self.issuers.get(request.path_params["name"])
        if address is None:
            return problem("not-found", 404, "There is no such way to sign in.")
        return JSONResponse({"authorization_url": address, "expires_in": 600})

    async def _finish(self, request: Request) -> Response:
        body = await request.json()
        if body["code"] != "good":
            return problem("login-refused", 401, "You have no account here.")
        self.finished.append(body)
        return self.let_in(body)
