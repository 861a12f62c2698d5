"""Signing in at an issuer: the browser goes there with a secret in a cookie, and comes back with a code.

The gateway, called from here alone, is given both and answers with the bearer token; no address ever holds one.
"""

import secrets
from hashlib import sha256

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from sluice_frontend.errors import GatewayError
from sluice_frontend.login import let_in, login_page, tenant_of
from sluice_frontend.models import Problem
from sluice_frontend.ports import Gateway
from sluice_frontend.rendering.login import SIGNED_IN_PAGE
from sluice_frontend.sessions import SessionSeal, cookie_name

BINDING = "sluice_sign_in"
_NOT_BEGUN = "This sign-in was not begun in this browser, or too long ago. Sign in again."
_REFUSED = "Nobody was signed in there. Sign in again."


def create_router(gateway: Gateway, seal: SessionSeal) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    cookie = cookie_name(BINDING, secure=seal.secure)

    @router.get("/login/with/{issuer}")
    async def go(request: Request, issuer: str, tenant: str = "", link: str = "") -> Response:
        binding = secrets.token_urlsafe(32)
        hashed = sha256(binding.encode()).hexdigest()
        try:
            begun = await gateway.begin_at_issuer(issuer, hashed, tenant=tenant_of(tenant), link=link or None)
        except GatewayError as error:
            return await login_page(gateway, {"tenant": tenant}, problem=error.problem)
        response = RedirectResponse(begun.authorization_url, status_code=303, headers={"Cache-Control": "no-store"})
        secure = seal.secure or request.url.scheme == "https"
        # Lax: the way back begins at the issuer's page
        response.set_cookie(cookie, binding, max_age=begun.expires_in, httponly=True, samesite="lax", secure=secure)
        return response

    @router.get("/login/oidc/{issuer}")
    async def come_back(request: Request, issuer: str) -> Response:
        response = await _finished(request, issuer, request.cookies.get(cookie))
        response.delete_cookie(cookie, httponly=True, samesite="lax", secure=seal.secure)
        return response

    async def _finished(request: Request, issuer: str, binding: str | None) -> Response:
        query = request.query_params
        answer = {name: query[name] for name in ("code", "state", "iss") if name in query}
        if binding is None or "state" not in answer:
            return await login_page(gateway, problem=_problem(_NOT_BEGUN))
        if "code" not in answer:
            return await login_page(gateway, problem=_problem(_REFUSED))
        try:
            signed_in = await gateway.finish_at_issuer(issuer, answer | {"binding": binding})
        except GatewayError as error:
            return await login_page(gateway, problem=error.problem)
        # A redirect would count as begun by the issuer's page, and the strict cookie would not go along.
        response = HTMLResponse(SIGNED_IN_PAGE, headers={"Cache-Control": "no-store"})
        let_in(response, request, seal, signed_in)
        return response

    return router


def _problem(detail: str) -> Problem:
    return Problem(title="Not signed in", status=401, detail=detail)
