"""Links that are good once, and how one asks for them: plain HTML forms. The token is what shows who sent the form."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from sluice_frontend.errors import GatewayError
from sluice_frontend.login import let_in, tenant_of
from sluice_frontend.models import FoundLink, Problem
from sluice_frontend.ports import Gateway
from sluice_frontend.rendering.links import render_ask, render_link, render_note
from sluice_frontend.sessions import SessionSeal

_NO_STORE = {"Cache-Control": "no-store"}
_FORGOTTEN = ("A new password", "If there is an account with this address, a mail with a link is on its way to it.")
_SIGN_UP = ("Sign up", "A mail with a link is on its way to you. Open it to go on.")


def create_router(gateway: Gateway, seal: SessionSeal) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/link")
    async def show(token: str = "") -> Response:
        """Looking uses nothing up: programs that read mail follow links too."""
        return await _shown(gateway, token)

    @router.post("/link")
    async def use(request: Request) -> Response:
        form = await _form(request)
        token = form.get("token", "")
        try:
            signed_in = await gateway.use_link(token, form.get("new_password", ""))
        except GatewayError as error:
            return await _shown(gateway, token, error.problem)
        response = RedirectResponse("/", status_code=303)
        let_in(response, request, seal, signed_in)
        return response

    @router.get("/forgotten")
    async def show_forgotten(tenant: str = "") -> Response:
        return _asked(_FORGOTTEN[0], "/forgotten", {"tenant": tenant_of(tenant) or ""})

    @router.post("/forgotten")
    async def forgotten(request: Request) -> Response:
        form = await _form(request)
        return await _sent(
            *_FORGOTTEN, "/forgotten", form, lambda: gateway.forgotten(_email(form), tenant_of(form.get("tenant")))
        )

    @router.get("/sign-up")
    async def show_sign_up(tenant: str = "default") -> Response:
        return _asked(_SIGN_UP[0], "/sign-up", {"tenant": tenant_of(tenant) or ""})

    @router.post("/sign-up")
    async def sign_up(request: Request) -> Response:
        form = await _form(request)
        tenant = tenant_of(form.get("tenant")) or "default"
        return await _sent(*_SIGN_UP, "/sign-up", form, lambda: gateway.sign_up(_email(form), tenant))

    return router


async def _shown(gateway: Gateway, token: str, problem: Problem | None = None) -> Response:
    try:
        found: FoundLink | None = await gateway.look_at_link(token)
    except GatewayError as error:
        found, problem = None, error.problem
    lines, status = (problem.lines, problem.status) if problem else ([], 200)
    html = render_link(found, token=token, lines=lines) if found else render_note("This link", lines=lines)
    return HTMLResponse(html, status_code=status, headers=_NO_STORE)


async def _sent(title: str, note: str, path: str, form: dict[str, str], ask: Callable[[], Awaitable[None]]) -> Response:
    try:
        await ask()
    except GatewayError as error:
        return _asked(title, path, form, error.problem)
    return HTMLResponse(render_note(title, note=note), headers=_NO_STORE)


def _asked(title: str, path: str, form: dict[str, str], problem: Problem | None = None) -> Response:
    lines, status = (problem.lines, problem.status) if problem else ([], 200)
    html = render_ask(title, path, email=_email(form), tenant=form.get("tenant", ""), lines=lines)
    return HTMLResponse(html, status_code=status, headers=_NO_STORE)


def _email(form: dict[str, str]) -> str:
    return form.get("email", "").strip()


async def _form(request: Request) -> dict[str, str]:
    return {name: str(value) for name, value in (await request.form(max_files=0, max_fields=10)).items()}
