"""Fetches a URL over httpx2, from nowhere but the open internet: what is checked is what is connected to."""

import asyncio
import logging
import socket
import ssl
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

import httpx2

from ingest_worker.addresses import AllowedNetwork, Target, check_addresses, parse_url
from ingest_worker.ports import FetchedFile
from sluice.errors import RemoteUnavailableError, UnreadableDocumentError

logger = logging.getLogger(__name__)
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
_HEADERS = {
    "User-Agent": "Sluice/0.1",
    "Accept": "text/html, text/*, application/pdf, */*;q=0.5",
    "Accept-Encoding": "gzip",
}
_ENDINGS = {"text/html": ".html", "application/xhtml+xml": ".html", "text/csv": ".csv", "text/markdown": ".md"}
_GZIP_OR_ZLIB = 47  # window bits: 15, and the header tells which


@dataclass(frozen=True)
class WebLimits:
    """How much of everything one URL may use; `body_bytes` counts before and after decompression."""

    redirects: int = 5
    body_bytes: int = 20_000_000
    seconds: float = 30


class WebFetcher:
    """Resolves a host itself, checks every address it has, and connects to one of those; again at each redirect."""

    def __init__(
        self,
        limits: WebLimits,
        *,
        allowed: Sequence[AllowedNetwork] = (),
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits
        self._allowed = allowed
        self._resolve = resolve or resolve_host
        self._tls = tls or httpx2.create_ssl_context()
        if allowed:
            networks = [f"{entry.network}:{entry.port}" for entry in allowed]
            logger.warning("urls.networks-opened", extra={"networks": networks})

    async def __call__(self, url: str) -> FetchedFile:
        """The body, and a name that ends as the content type says.

        Raises:
            UnreadableDocumentError: the URL or a redirect is refused, a cap is exceeded, or nothing is there.
            RemoteUnavailableError: the server does not answer, is busy or too slow.
        """
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await self._follow(url)
        except TimeoutError as error:
            raise RemoteUnavailableError(
                f"the address did not answer in full within {self._limits.seconds:g} seconds"
            ) from error
        except httpx2.HTTPError as error:
            raise RemoteUnavailableError("the address does not answer, or breaks off") from error

    async def _follow(self, url: str) -> FetchedFile:
        for _ in range(self._limits.redirects + 1):
            async with self._open(url) as answer:
                if not answer.has_redirect_location:
                    _check_status(answer.status_code)
                    return FetchedFile(await self._body(answer), _name(url, answer.headers.get("content-type", "")))
                url = urljoin(url, answer.headers["location"])
        raise UnreadableDocumentError(f"the address redirects more than {self._limits.redirects} times")

    @asynccontextmanager
    async def _open(self, url: str) -> AsyncGenerator[httpx2.Response]:
        target = parse_url(url, self._allowed)
        addresses = await self._resolve(target.host, target.port)
        check_addresses(addresses, target.port, self._allowed)
        # a client a hop: no cookie and no connection of one host, or one tenant, serves another
        async with httpx2.AsyncClient(verify=self._tls, timeout=self._limits.seconds, trust_env=False) as client:
            answer = await _connect(client, target, addresses)
            try:
                yield answer
            finally:
                await answer.aclose()

    async def _body(self, answer: httpx2.Response) -> bytes:
        """The body, unpacked here: what the library unpacks is counted only when it is in memory."""
        encoding = answer.headers.get("content-encoding", "identity").lower()
        if encoding not in ("identity", "gzip", "deflate"):
            raise UnreadableDocumentError(f"the address answers in an encoding that was not asked for: {encoding[:20]}")
        unpacker = zlib.decompressobj(_GZIP_OR_ZLIB) if encoding != "identity" else None
        body, packed, limit = bytearray(), 0, self._limits.body_bytes
        try:
            async for data in answer.aiter_raw():
                packed += len(data)
                body += unpacker.decompress(data, limit + 1 - len(body)) if unpacker else data
                if packed > limit or len(body) > limit:
                    raise UnreadableDocumentError(f"the address answers with more than {limit // 1_000_000} MB")
        except zlib.error as error:
            raise UnreadableDocumentError("the address answers with damaged compressed data") from error
        return bytes(body)


async def _connect(client: httpx2.AsyncClient, target: Target, addresses: Sequence[str]) -> httpx2.Response:
    for address in addresses:
        try:
            return await client.send(_request(client, target, address), stream=True, follow_redirects=False)
        except httpx2.ConnectError:
            logger.info("url.address-unreachable")
    raise RemoteUnavailableError("the address cannot be connected to")


def _request(client: httpx2.AsyncClient, target: Target, address: str) -> httpx2.Request:
    """Goes to the very address that was checked; the host stands in its header and in the TLS handshake."""
    place, host = (f"[{name}]" if ":" in name else name for name in (address, target.host))
    default_port = target.port == (443 if target.scheme == "https" else 80)
    return client.build_request(
        "GET",
        f"{target.scheme}://{place}:{target.port}{target.path}",
        headers={**_HEADERS, "Host": host if default_port else f"{host}:{target.port}"},
        extensions={"sni_hostname": target.host},
    )


def _check_status(status: int) -> None:
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise RemoteUnavailableError(f"the address answers {status}")
    if status != HTTPStatus.OK:
        raise UnreadableDocumentError(f"the address answers {status}: nothing to read without signing in, or at all")


def _name(url: str, content_type: str) -> str:
    """The last part of the path, with the ending that the content type asks for; text/plain may be of any text kind."""
    name = PurePosixPath(unquote(urlsplit(url).path)).name or "page"
    ending = _ENDINGS.get(content_type.partition(";")[0].strip().lower())
    return name if ending is None else f"{name}{ending}"


async def resolve_host(host: str, port: int) -> Sequence[str]:
    """All addresses of a host by the system's resolver. Raises UnreadableDocumentError, RemoteUnavailableError."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise RemoteUnavailableError("the host's name cannot be resolved at the moment") from error
        raise UnreadableDocumentError("there is no host of this name") from error
    return list(dict.fromkeys(str(place[0]) for *_, place in found))
