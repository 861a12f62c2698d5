"""Signing in and out: plain HTML forms that need no script."""

from collections.abc import Mapping

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from sluice_frontend.errors import GatewayError
from sluice_frontend.ports import Credentials, Gateway
from sluice_frontend.rendering.login import render_login
from sluice_frontend.sessions import COOKIE, Session, SessionSeal

_ENDED = "Your session has ended. Sign in again."


def create_router(gateway: Gateway, seal: SessionSeal) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/login")
    async def show_login(expired: bool = False) -> Response:
        return _form(notice=_ENDED if expired else "")

    @router.post("/login")
    async def sign_in(request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form(max_files=0, max_fields=10)).items()}
        try:
            signed_in = await gateway.sign_in(_credentials(form))
        except GatewayError as error:
            problem = error.problem
            return _form(form, needed=problem.kind, lines=problem.lines, status=problem.status)
        session = Session.begin(signed_in.access_token, signed_in.expires_in)
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(
            COOKIE,
            seal.seal(session),
            max_age=signed_in.expires_in,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    @router.post("/logout")
    async def sign_out(request: Request) -> Response:
        response = RedirectResponse("/login", status_code=303)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        if session := seal.open(request.cookies):
            await _forget(gateway, session)
        return response

    return router


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


def _form(
    form: Mapping[str, str] | None = None,
    *,
    needed: str = "",
    lines: list[str] | None = None,
    notice: str = "",
    status: int = 200,
) -> Response:
    form = form or {}
    html = render_login(
        email=form.get("email", ""),
        tenant=form.get("tenant", ""),
        ask_tenant=needed == "tenant-needed" or bool(form.get("tenant")),
        ask_new_password=needed == "password-change-required" or "new_password" in form,
        lines=lines or [],
        notice=notice,
    )
    return HTMLResponse(html, status_code=status, headers={"Cache-Control": "no-store"})
