"""The sign-in page."""

from urllib.parse import quote, urlencode

from sluice_frontend.models import Ways
from sluice_frontend.rendering.text import alert, inert

HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">{more}
<title>Sign in · Sluice</title><link rel="stylesheet" href="/page/login.css"></head>
"""
_PAGE = """{head}<body><main><h1>Sluice</h1><p>Answers from your company's own documents.</p>{messages}
<form method="post" action="/login">{fields}<button type="submit">Sign in</button></form>{ways}{more}</main></body>
</html>
"""
SIGNED_IN_PAGE = (
    HEAD.format(more='<meta http-equiv="refresh" content="0;url=/">')
    + '<body><main><h1>Sluice</h1><p>You are signed in. <a href="/">Go on</a></p></main></body></html>\n'
)


def render_login(
    *, email: str, tenant: str, ask_tenant: bool, ask_new_password: bool, lines: list[str], notice: str, ways: Ways
) -> str:
    """The page as it stands after this attempt; passwords are never put back into it."""
    fields = [
        render_field("email", "E-mail address", kind="email", value=email, complete="username"),
        render_field("password", "Password", kind="password", complete="current-password"),
    ]
    if ask_new_password:
        fields.append(render_field("new_password", "New password", kind="password", complete="new-password"))
    if ask_tenant:
        fields.append(render_field("tenant", "Tenant", kind="text", value=tenant, complete="organization"))
    messages = (alert(lines) if lines else "") + (f'<p role="status">{inert(notice)}</p>' if notice else "")
    return _PAGE.format(
        head=HEAD.format(more=""),
        messages=messages,
        fields="".join(fields),
        ways=render_issuers(ways, tenant=tenant),
        more=_more(ways, tenant),
    )


def render_issuers(ways: Ways, **query: str) -> str:
    """Links: a form that is sent to another site in the end is stopped by the page's own policy."""
    told = urlencode({name: value for name, value in query.items() if value})
    links = [
        f'<a class="button" href="/login/with/{quote(issuer.name, safe="")}{inert(f"?{told}" if told else "")}">'
        f"Sign in with {inert(issuer.title)}</a>"
        for issuer in ways.issuers
    ]
    return f'<nav aria-label="Other ways to sign in">{"".join(links)}</nav>' if links else ""


def _more(ways: Ways, tenant: str) -> str:
    """Where those go who have no password."""
    query = inert(f"?{urlencode({'tenant': tenant})}" if tenant else "")
    links = [f'<a href="/forgotten{query}">Forgot your password?</a>'] if ways.forgotten else []
    links += [f'<a href="/sign-up{query}">Sign up</a>'] if ways.sign_up else []
    return f'<p class="more">{" · ".join(links)}</p>' if links else ""


def render_field(name: str, label: str, *, kind: str, complete: str, value: str = "") -> str:
    return (
        f'<label for="{name}">{label}</label>'
        f'<input id="{name}" name="{name}" type="{kind}" value="{inert(value)}" autocomplete="{complete}" required>'
    )
