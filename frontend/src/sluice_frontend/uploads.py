"""The upload goes through to the gateway as it comes in: no file ever lies on the page's disk or passes Gradio."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from sluice_frontend.errors import GatewayError
from sluice_frontend.ports import Gateway
from sluice_frontend.sessions import SessionSeal


def create_router(gateway: Gateway, seal: SessionSeal) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.post("/documents")
    async def upload(request: Request) -> Response:
        session = seal.open(request.cookies)
        if session is None:
            return JSONResponse({"detail": "Sign in again."}, status_code=401)
        if not session.vouches_for(request.headers.get("x-csrf-token")):
            return JSONResponse({"detail": "This request did not come from this page. Load it again."}, status_code=403)
        content_type = request.headers.get("content-type", "")
        try:
            reply = await gateway.submit(session.token, content_type, request.stream())
        except GatewayError as error:
            return JSONResponse(error.problem.model_dump(), status_code=error.problem.status)
        return Response(reply.body, status_code=reply.status, media_type=reply.content_type)

    return router
