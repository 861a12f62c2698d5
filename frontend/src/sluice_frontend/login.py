"""Signing in and out: plain HTML forms that need no script."""

import re
from collections.abc import Mapping

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from sluice_frontend.errors import GatewayError
from sluice_frontend.models import Problem, SignedIn, Ways
from sluice_frontend.ports import Credentials, Gateway
from sluice_frontend.rendering.login import render_login
from sluice_frontend.sessions import Session, SessionSeal

_ENDED = "Your session has ended. Sign in again."
_FORGED = "This request did not come from this page. Load it again, then sign out."
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def create_router(gateway: Gateway, seal: SessionSeal) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/login")
    async def show_login(expired: bool = False, tenant: str = "") -> Response:
        return await login_page(gateway, {"tenant": tenant_of(tenant) or ""}, notice=_ENDED if expired else "")

    @router.post("/login")
    async def sign_in(request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form(max_files=0, max_fields=10)).items()}
        try:
            signed_in = await gateway.sign_in(_credentials(form))
        except GatewayError as error:
            return await login_page(gateway, form, problem=error.problem)
        response = RedirectResponse("/", status_code=303)
        let_in(response, request, seal, signed_in)
        return response

    @router.post("/logout")
    async def sign_out(request: Request) -> Response:
        session = seal.open(request.cookies)
        if session and not session.vouches_for(str((await request.form(max_files=0, max_fields=1)).get("csrf", ""))):
            return await login_page(gateway, problem=Problem(title="Not signed out", status=403, detail=_FORGED))
        response = RedirectResponse("/login", status_code=303)
        response.delete_cookie(seal.cookie, httponly=True, samesite="strict", secure=seal.secure)
        if session:
            await _forget(gateway, session)
        return response

    return router


def let_in(response: Response, request: Request, seal: SessionSeal, signed_in: SignedIn) -> None:
    """Gives the browser the cookie of a new session."""
    response.set_cookie(
        seal.cookie,
        seal.seal(Session.begin(signed_in.access_token, signed_in.expires_in)),
        max_age=signed_in.expires_in,
        httponly=True,
        samesite="strict",
        secure=seal.secure or request.url.scheme == "https",
    )


def tenant_of(text: str | None) -> str | None:
    """The tenant that an address or a form names, if it can be one."""
    return text if text and _SLUG.fullmatch(text) else None


async def login_page(
    gateway: Gateway, form: Mapping[str, str] | None = None, *, problem: Problem | None = None, notice: str = ""
) -> Response:
    """The page as it stands after an attempt, with the ways in of the tenant; without them if the gateway is away."""
    form, kind = form or {}, problem.kind if problem else ""
    tenant = form.get("tenant", "").strip()
    try:
        ways = await gateway.ways_in(tenant_of(tenant))
    except GatewayError:
        ways = Ways()
    html = render_login(
        email=form.get("email", ""),
        tenant=tenant,
        ask_tenant=kind == "tenant-needed" or bool(tenant),
        ask_new_password=kind == "password-change-required" or "new_password" in form,
        lines=problem.lines if problem else [],
        notice=notice,
        ways=ways,
    )
    return HTMLResponse(html, status_code=problem.status if problem else 200, headers={"Cache-Control": "no-store"})


async def _forget(gateway: Gateway, session: Session) -> None:
    try:
        await gateway.sign_out(session.token)
    except GatewayError as error:
        if not error.signed_out:
            raise


def _credentials(form: Mapping[str, str]) -> Credentials:
    return Credentials(
        email=form.get("email", "").strip(),
        password=form.get("password", ""),
        tenant=form.get("tenant", "").strip() or None,
        new_password=form.get("new_password") or None,
    )
