"""Puts the page together: the guard outside, our own routes, and Gradio behind them."""

import asyncio
from importlib.resources import files
from typing import Any, cast

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.staticfiles import StaticFiles
from gradio.themes import Base
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from sluice_frontend import at_issuer, links, login, operations, operators, uploads
from sluice_frontend.guard import Guard, OriginCheck
from sluice_frontend.headers import SecureHeaders
from sluice_frontend.page.layout import create_page
from sluice_frontend.ports import Gateway
from sluice_frontend.sessions import SessionSeal, decode_key, load_key
from sluice_frontend.settings import Settings


def create_app(settings: Settings, *, gateway: Gateway, closing: asyncio.Event) -> FastAPI:
    """`closing` is to be set when the server begins to stop: open tabs are then let go."""
    seal = SessionSeal(_cookie_key(settings), secure=settings.public_url.scheme == "https")
    app = FastAPI(
        title="Sluice", openapi_url=None, docs_url=None, redoc_url=None, middleware=_middleware(seal, closing)
    )
    app.include_router(operations.create_router(gateway))
    app.include_router(login.create_router(gateway, seal))
    app.include_router(at_issuer.create_router(gateway, seal))
    app.include_router(links.create_router(gateway, seal))
    app.include_router(operators.create_router(gateway))
    app.include_router(uploads.create_router(gateway, seal))
    app.mount("/page", StaticFiles(directory=str(files("sluice_frontend") / "static")))
    _mount_page(app, create_page(settings, gateway=gateway, seal=seal), seal)
    return app


def _cookie_key(settings: Settings) -> bytes:
    if settings.page_cookie_key:
        return decode_key(settings.page_cookie_key.get_secret_value())
    return load_key(settings.cookie_key_file)


def _middleware(seal: SessionSeal, closing: asyncio.Event) -> list[Middleware]:
    return [
        Middleware(SecureHeaders),
        Middleware(CORSMiddleware, allow_origins=[]),  # Gradio's own, which it then leaves out, lets every origin in
        Middleware(OriginCheck),
        Middleware(Guard, seal=seal, closing=closing),
    ]


def _mount_page(app: FastAPI, page: gr.Blocks, seal: SessionSeal) -> None:
    def name_of(request: Request) -> str | None:
        session = seal.open(request.cookies)
        return session.id if session else None

    page.has_launched = True  # a mounted page never sets it, and without it Gradio reads any path that a client names
    mount = cast("Any", gr).mount_gradio_app  # partly untyped
    mount(
        app,
        page,
        path="/",
        auth_dependency=name_of,
        allowed_paths=[],
        show_error=False,
        max_file_size=1,
        enable_monitoring=False,
        run_history=False,
        footer_links=[],
        mcp_server=False,
        pwa=False,
        ssr_mode=False,
        theme=Base(primary_hue="teal", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
    )
