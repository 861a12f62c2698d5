"""Requests that are small to send and could be large to hold: heads, parts of a form, ranges."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from sluice.heads import HEAD_BYTES
from tests.support.gateway import RunningGateway
from tests.support.page import STAFF, Stage, Visitor, running_page

DOCUMENTS = "/api/v1/knowledge/documents"
ASSET = "/docs/assets/swagger-ui-bundle.js"
_LINE = b"X-More: " + b"x" * 1000 + b"\r\n"
_CHUNKED = b"POST /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
_ENDLESS = {
    "a path": (b"GET /", b"x" * 1000),
    "a name": (b"GET / HTTP/1.1\r\n", b"x" * 1000),
    "a value": (b"GET / HTTP/1.1\r\nHost: ", b"x" * 1000),
    "headers": (b"GET / HTTP/1.1\r\nHost: a\r\n", _LINE),
    "trailers": (_CHUNKED + b"1\r\nx\r\n0\r\n", _LINE),
    "a trailer": (_CHUNKED + b"1\r\nx\r\n0\r\nX-More: ", b"x" * 1000),
}
RANGES = {
    "many": "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 16_000, 2)),
    "as many as are read": "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 200, 2)),
    "overlapping": "bytes=" + ",".join(["0-"] * 15_000),
    "empty": "bytes=" + "," * 50_000,
    "huge numbers": "bytes=" + "9" * 4000 + "-" + "9" * 4000,
    "negative": "bytes=-" + "9" * 50_000,
}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with running_page(tmp_path) as running:
        yield running


@pytest.mark.parametrize("what", _ENDLESS)
async def test_a_head_that_never_ends_is_cut_off(gateway: RunningGateway, what: str) -> None:
    """case 34: before it has taken more than a little memory; others are served meanwhile and after."""
    start, more = _ENDLESS[what]
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.settings.port)
    writer.write(start)
    with pytest.raises(ConnectionError):
        await _send(writer, more, 20_000_000)
    async with gateway.client() as client:
        assert (await client.get("/healthz")).status_code == 200


async def _send(writer: asyncio.StreamWriter, more: bytes, most: int) -> None:
    for _ in range(most // len(more)):
        writer.write(more)
        await writer.drain()


async def test_a_large_head_is_refused_and_an_ordinary_one_with_a_large_body_is_not(gateway: RunningGateway) -> None:
    """case 34: also when it comes whole, and in a second request on the same connection."""
    async with await gateway.admin() as admin:
        file = ("files", ("a.txt", b"text " * 1_000_000))
        for _ in range(2):
            assert (await admin.post(DOCUMENTS, files=[file])).status_code == 202
            assert (await admin.get("/api/v1/me", headers={"X-More": "x" * 20_000})).status_code == 200
        assert (await admin.get("/api/v1/me", headers={"X-More": "x" * (HEAD_BYTES + 1)})).status_code == 400

        async def in_many_pieces() -> AsyncIterator[bytes]:
            for _ in range(2000):
                yield b"x" * 100

        answer = await admin.post("/api/v1/auth/login", content=in_many_pieces())
        assert answer.status_code == 422, "200 kB in small chunks are a body, and no head"


def _form(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


_FILE = b'Content-Disposition: form-data; name="files"; filename="a.txt"\r\n'
_FLOODS = {
    "headers of a part": _form(_FILE + b"X-More: x\r\n" * 100_000 + b"\r\ntext"),
    "one header of a part": _form(_FILE + b"X-More: " + b"x" * 5_000_000 + b"\r\n\r\ntext"),
    "a part's name": _form(b'Content-Disposition: form-data; name="' + b"x" * 5_000_000 + b'"\r\n\r\ntext'),
    "options": _form(b"Content-Disposition: form-data; " + b"a=b; " * 500_000 + b"\r\n\r\ntext"),
    "fields": _form(*[b'Content-Disposition: form-data; name="urls"\r\n\r\nhttps://example.com/'] * 5000),
    "files": _form(*[_FILE + b"\r\nx"] * 5000),
    "a field": _form(b'Content-Disposition: form-data; name="urls"\r\n\r\n' + b"x" * 5_000_000),
    "dashes": b"-" * 5_000_000,
    "boundaries": b"--b\r\n" * 500_000,
}


@pytest.mark.parametrize("what", _FLOODS)
async def test_a_flood_in_a_form_is_refused_soon(gateway: RunningGateway, what: str) -> None:
    """case 34: multipart headers, fields and files."""
    async with await gateway.admin() as admin:
        began = time.monotonic()
        answer = await admin.post(
            DOCUMENTS, content=_FLOODS[what], headers={"Content-Type": "multipart/form-data; boundary=b"}
        )
        assert time.monotonic() - began < 5
        assert answer.status_code in (400, 422), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert (await admin.get(DOCUMENTS)).json()["items"] == []


def _costs_little(answer: httpx2.Response, whole: int) -> bool:
    return answer.status_code in (200, 206, 400, 416) and len(answer.content) < whole + 50_000


@pytest.mark.parametrize("what", RANGES)
async def test_a_flood_of_ranges_costs_no_more_than_the_file(gateway: RunningGateway, what: str) -> None:
    """case 34: the gateway's own files."""
    async with gateway.client() as client:
        whole = len((await client.get(ASSET)).content)
        began = time.monotonic()
        assert _costs_little(await client.get(ASSET, headers={"Range": RANGES[what]}), whole)
        assert time.monotonic() - began < 5


def test_a_flood_of_ranges_costs_the_page_no_more_than_the_file(stage: Stage) -> None:
    """case 34: the page's files, and those of Gradio."""
    stage.new_gateway()
    visitor = Visitor(stage.url)
    visitor.sign_in(STAFF)
    paths = ("/page/page.css", "/page/page.js", "/theme.css", "/manifest.json")
    for path in paths:
        whole = len(visitor.http.get(path).content)
        for ranges in RANGES.values():
            began = time.monotonic()
            assert _costs_little(visitor.http.get(path, headers={"Range": ranges}), whole), path
            assert time.monotonic() - began < 5
