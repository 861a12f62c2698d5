"""The pages of links that are good once, and of asking for one."""

from sluice_frontend.models import FoundLink, Ways
from sluice_frontend.rendering.login import HEAD, render_field, render_issuers
from sluice_frontend.rendering.text import alert, inert

_PAGE = (
    HEAD.format(more="")
    + """<body><main><h1>Sluice</h1>{parts}<p class="more"><a href="/login">Sign in</a></p></main></body></html>
"""
)
_WELCOME = {
    "invitation": "You are invited to {tenant} as {email}.",
    "reset": "A new password for {email} at {tenant}.",
    "sign-up": "Sign up at {tenant} as {email}.",
}


def render_link(link: FoundLink, *, token: str, lines: list[str]) -> str:
    welcome = _WELCOME.get(link.purpose, "{email}").format(tenant=link.tenant, email=link.email)
    fields = _hidden("token", token) + render_field(
        "new_password", "New password", kind="password", complete="new-password"
    )
    issuers = render_issuers(Ways(issuers=link.issuers), link=token)
    return _page(f"<p>{inert(welcome)}</p>", lines, _form("/link", fields, "Choose this password") + issuers)


def render_ask(title: str, path: str, *, email: str, tenant: str, lines: list[str]) -> str:
    fields = render_field("email", "E-mail address", kind="email", value=email, complete="username")
    fields += _hidden("tenant", tenant) if tenant else ""
    return _page(f"<h2>{inert(title)}</h2>", lines, _form(path, fields, "Send me a link"))


def render_note(title: str, *, note: str = "", lines: list[str] | None = None) -> str:
    told = f'<p role="status">{inert(note)}</p>' if note else ""
    return _page(f"<h2>{inert(title)}</h2>", lines or [], told)


def _page(head: str, lines: list[str], rest: str) -> str:
    return _PAGE.format(parts=head + (alert(lines) if lines else "") + rest)


def _form(path: str, fields: str, action: str) -> str:
    return f'<form method="post" action="{path}">{fields}<button type="submit">{inert(action)}</button></form>'


def _hidden(name: str, value: str) -> str:
    return f'<input type="hidden" name="{name}" value="{inert(value)}">'
