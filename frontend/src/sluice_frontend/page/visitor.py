"""Whose event it is, and what to show them when the gateway refuses."""

from collections.abc import Callable

import gradio as gr

from sluice_frontend.errors import GatewayError
from sluice_frontend.models import Problem
from sluice_frontend.page.events import cookies_of
from sluice_frontend.rendering.text import alert
from sluice_frontend.sessions import SessionSeal

TokenOf = Callable[[gr.Request], str]

_SIGNED_OUT = '<p data-signed-out>Your session has ended. <a href="/login?expired=true">Sign in again</a></p>'


def token_reader(seal: SessionSeal) -> TokenOf:
    def token_of(request: gr.Request) -> str:
        """The bearer token of whoever sent this event; GatewayError (401) if the cookie no longer opens."""
        session = seal.open(cookies_of(request))
        if session is None:
            raise GatewayError(Problem(title="Signed out", status=401, detail="Sign in again."))
        return session.token

    return token_of


def render_refusal(problem: Problem) -> str:
    """The problem as an alert; a session that has ended leads to the sign-in page."""
    return _SIGNED_OUT if problem.status == 401 else alert(problem.lines)
