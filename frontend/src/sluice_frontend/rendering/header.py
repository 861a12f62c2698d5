"""The line at the top: who is signed in, and how far they may read."""

from sluice_frontend.models import Person
from sluice_frontend.rendering.text import badge, inert


def render_header(person: Person, csrf_token: str) -> str:
    return (
        f'<header><h1>Sluice</h1>{badge(person.clearance)}<span class="address">{inert(person.email)}</span>'
        f'<form method="post" action="/logout"><input type="hidden" name="csrf" value="{inert(csrf_token)}">'
        '<button type="submit" class="quiet">Sign out</button></form></header>'
    )
