"""/docs: the API to try out, from files of our own, so that the page asks no other host for anything.

/asyncapi: the messages behind it.
"""

import base64
import hashlib
from importlib.resources import files

from fastapi import FastAPI, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

_ASSETS = "/docs/assets"


def install(app: FastAPI) -> None:
    page = get_swagger_ui_html(
        openapi_url=app.openapi_url or "",
        title=f"{app.title} API",
        swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{_ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{_ASSETS}/favicon.png",
    )
    headers = {"Content-Security-Policy": _policy(bytes(page.body).decode())}

    @app.get("/docs", include_in_schema=False)
    async def get_docs() -> HTMLResponse:
        return HTMLResponse(page.body, headers=headers)

    messages = (files("sluice") / "asyncapi.json").read_bytes()

    @app.get("/asyncapi", response_class=Response, tags=["system"])
    async def get_asyncapi() -> Response:
        """The streams and their messages, as AsyncAPI 3.0."""
        return Response(messages, media_type="application/json")

    app.mount(_ASSETS, StaticFiles(directory=str(files("fastapi_offline") / "static")))


def _policy(page: str) -> str:
    """Lets run the one script that the page itself holds."""
    script = page.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
    )
