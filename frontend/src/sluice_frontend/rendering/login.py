"""The sign-in page."""

from sluice_frontend.rendering.text import alert, inert

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in · Sluice</title><link rel="stylesheet" href="/page/login.css"></head>
<body><main><h1>Sluice</h1><p>Answers from your company's own documents.</p>{messages}
<form method="post" action="/login">{fields}<button type="submit">Sign in</button></form></main></body></html>
"""


def render_login(
    *, email: str, tenant: str, ask_tenant: bool, ask_new_password: bool, lines: list[str], notice: str
) -> str:
    """The page as it stands after this attempt; passwords are never put back into it."""
    fields = [
        _field("email", "E-mail address", kind="email", value=email, complete="username"),
        _field("password", "Password", kind="password", complete="current-password"),
    ]
    if ask_new_password:
        fields.append(_field("new_password", "New password", kind="password", complete="new-password"))
    if ask_tenant:
        fields.append(_field("tenant", "Tenant", kind="text", value=tenant, complete="organization"))
    messages = (alert(lines) if lines else "") + (f'<p role="status">{inert(notice)}</p>' if notice else "")
    return _PAGE.format(messages=messages, fields="".join(fields))


def _field(name: str, label: str, *, kind: str, complete: str, value: str = "") -> str:
    return (
        f'<label for="{name}">{label}</label>'
        f'<input id="{name}" name="{name}" type="{kind}" value="{inert(value)}" autocomplete="{complete}" required>'
    )
