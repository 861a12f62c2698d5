"""URLs, fetched from real servers on loopback; the resolver alone stands in for the internet's names."""

import asyncio
import contextlib
import gzip
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ingest_worker.adapters.web import WebFetcher, WebLimits, resolve_host
from ingest_worker.addresses import AllowedNetwork
from ingest_worker.ports import FetchedFile
from sluice.errors import SluiceError, TransientError, UnreadableDocumentError
from tests.support.ports import free_port

LIMITS = WebLimits(body_bytes=100_000, seconds=5)
Respond = Callable[["Request"], bytes]
Request = dict[str, str]


def answer(body: bytes = b"hello", status: str = "200 OK", **headers: str) -> bytes:
    """A whole HTTP answer; `_` in a header's name stands for `-`."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Site:
    """A server that notes each request's path and Host."""

    def __init__(self, port: int, respond: Respond) -> None:
        self.port = port
        self.requests: list[Request] = []
        self._respond = respond

    @property
    def allowed(self) -> AllowedNetwork:
        return AllowedNetwork.parse(f"127.0.0.0/8:{self.port}")

    def url(self, path: str = "/", host: str = "site.example") -> str:
        return f"http://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            request = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
            request["path"] = head[0].split()[1]
            self.requests.append(request)
            writer.write(self._respond(request))
            await writer.drain()
        writer.close()


@asynccontextmanager
async def site(respond: Respond, tls: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    served = Site(free_port(), respond)
    server = await asyncio.start_server(served.serve, "127.0.0.1", served.port, ssl=tls)
    async with server:
        yield served


class Names:
    """A resolver that knows these names; a list of lists is given out one after the other."""

    def __init__(self, **names: Sequence[Sequence[str]]) -> None:
        self._answers = {name.replace("_", "."): list(answers) for name, answers in names.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self._answers:
            return [host]
        answers = self._answers[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


async def fetch(served: Site, path: str = "/", *, names: Names | None = None, **limits: float) -> FetchedFile:
    names = names or Names(site_example=[["127.0.0.1"]])
    fetcher = WebFetcher(WebLimits(**{**vars(LIMITS), **limits}), allowed=[served.allowed], resolve=names)
    return await fetcher(served.url(path))


async def test_a_page_is_fetched_under_its_host_name_and_named_after_its_type() -> None:
    async with site(lambda _: answer(b"<p>hi</p>", Content_Type="text/html; charset=utf-8")) as served:
        file = await fetch(served, "/refunds.pdf?q=1")
        assert file == FetchedFile(b"<p>hi</p>", "refunds.pdf.html")
        assert served.requests[0]["host"] == f"site.example:{served.port}"
        assert served.requests[0]["path"] == "/refunds.pdf?q=1"


@pytest.mark.parametrize(
    ("path", "content_type", "name"),
    [
        ("/rules.md", "text/plain", "rules.md"),
        ("/data", "text/csv", "data.csv"),
        ("/a/report.pdf", "application/pdf", "report.pdf"),
        ("/", "text/html", "page.html"),
        ("/b%C3%BCcher.txt", "", "bücher.txt"),
    ],
)
async def test_the_content_type_or_else_the_path_gives_the_ending(path: str, content_type: str, name: str) -> None:
    async with site(lambda _: answer(Content_Type=content_type)) as served:
        assert (await fetch(served, path)).name == name


async def test_five_redirects_are_followed_and_a_sixth_is_not() -> None:
    def respond(request: Request) -> bytes:
        left = int(request["path"].strip("/"))
        return answer(status="302 Found", Location=f"/{left - 1}") if left else answer(b"there")

    async with site(respond) as served:
        assert (await fetch(served, "/5")).data == b"there"
        with pytest.raises(UnreadableDocumentError, match="redirects more than 5 times"):
            await fetch(served, "/6")


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/",
        "http://127.0.0.1:6379/",
        "http://localhost/",
        "http://[::1]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://2130706433/",
        "http://inside.example/",
        "//inside.example/",
        "file:///etc/passwd",
        "https://user:password@site.example/",
    ],
)
async def test_a_redirect_off_the_open_internet_is_refused(location: str) -> None:
    """case 23: each hop is checked as the first was, also where a name is what leads inside."""
    names = Names(site_example=[["127.0.0.1"]], inside_example=[["10.0.0.7"]], localhost=[["127.0.0.1"]])
    async with site(lambda _: answer(status="301 Moved Permanently", Location=location)) as served:
        with pytest.raises(UnreadableDocumentError, match="may not be fetched"):
            await fetch(served, names=names)
        assert len(served.requests) == 1


async def test_loopback_is_refused_unless_it_is_opened() -> None:
    async with site(lambda _: answer()) as served:
        for url in (served.url(host="127.0.0.1"), "http://127.0.0.1/", "http://localhost/"):
            with pytest.raises(UnreadableDocumentError, match="may not be fetched"):
                await WebFetcher(LIMITS)(url)
        assert served.requests == []


async def test_a_host_is_resolved_once_a_hop_and_the_checked_address_is_connected_to() -> None:
    """cases 24, 25: a name that resolves to something else the second time (rebinding) is not asked a second time."""
    names = Names(site_example=[["127.0.0.2"], ["10.0.0.7"]])
    async with site(lambda _: answer(b"checked")) as served:
        elsewhere = await asyncio.start_server(Site(0, lambda _: answer(b"other")).serve, "127.0.0.2", served.port)
        async with elsewhere:
            assert (await fetch(served, names=names)).data == b"other"
        assert names.asked == ["site.example"]
        assert served.requests == []


async def test_a_name_that_turns_inside_between_two_hops_is_refused() -> None:
    """case 24: rebinding between a page and its redirect."""
    names = Names(site_example=[["127.0.0.1"], ["10.0.0.7"]])
    async with site(lambda _: answer(status="302 Found", Location="/again")) as served:
        with pytest.raises(UnreadableDocumentError, match="private, local or reserved"):
            await fetch(served, names=names)
        assert [request["path"] for request in served.requests] == ["/"]


async def test_an_address_that_was_let_in_once_is_checked_again_at_each_use() -> None:
    """case 28: a name that led outside when it was asked for first leads inside when it is refreshed."""
    names = Names(site_example=[["127.0.0.1"], ["169.254.169.254"]])
    async with site(lambda _: answer(b"first")) as served:
        fetcher = WebFetcher(LIMITS, allowed=[served.allowed], resolve=names)
        assert (await fetcher(served.url())).data == b"first"
        with pytest.raises(UnreadableDocumentError, match="private, local or reserved"):
            await fetcher(served.url())
        assert len(served.requests) == 1


async def test_a_host_with_one_address_inside_is_refused_whole() -> None:
    names = Names(site_example=[["127.0.0.1", "192.168.0.1"]])
    async with site(lambda _: answer()) as served:
        with pytest.raises(UnreadableDocumentError, match="may not be fetched"):
            await fetch(served, names=names)
        assert served.requests == []


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    names = Names(site_example=[["127.0.0.9", "127.0.0.1"]])
    async with site(lambda _: answer(b"second")) as served:
        assert (await fetch(served, names=names)).data == b"second"


async def test_a_cookie_of_one_page_is_not_shown_to_another() -> None:
    async with site(lambda _: answer(Set_Cookie="session=1")) as served:
        fetcher = WebFetcher(LIMITS, allowed=[served.allowed], resolve=Names(site_example=[["127.0.0.1"]]))
        await fetcher(served.url())
        await fetcher(served.url())
        assert all("cookie" not in request for request in served.requests)


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """case 25: a proxy would resolve the name itself."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    async with site(lambda _: answer(b"direct")) as served:
        assert (await fetch(served)).data == b"direct"


async def test_a_body_over_the_cap_is_refused_told_or_not() -> None:
    """case 29: the body."""

    def untold(_: Request) -> bytes:
        return b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 200_000

    for respond in (untold, lambda _: answer(b"x" * 100_001)):
        async with site(respond) as served:
            with pytest.raises(UnreadableDocumentError, match="answers with more than"):
                await fetch(served)


async def test_a_compressed_body_is_unpacked_up_to_the_cap() -> None:
    """case 29: the decompressed body."""
    async with site(lambda _: answer(gzip.compress(b"x" * 100_000), Content_Encoding="gzip")) as served:
        assert (await fetch(served)).data == b"x" * 100_000
    bomb = gzip.compress(b"x" * 90_000_000)
    async with site(lambda _: answer(bomb, Content_Encoding="gzip")) as served:
        tracemalloc.start()
        try:
            with pytest.raises(UnreadableDocumentError, match="answers with more than"):
                await fetch(served)
            assert tracemalloc.get_traced_memory()[1] < 10_000_000
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
async def test_an_encoding_that_was_not_asked_for_is_refused(encoding: str) -> None:
    async with site(lambda _: answer(Content_Encoding=encoding)) as served:
        with pytest.raises(UnreadableDocumentError, match="encoding that was not asked for"):
            await fetch(served)


async def test_damaged_compression_is_refused() -> None:
    async with site(lambda _: answer(b"no gzip", Content_Encoding="gzip")) as served:
        with pytest.raises(UnreadableDocumentError, match="damaged"):
            await fetch(served)


async def test_an_answer_that_never_ends_is_given_up_in_time() -> None:
    """case 29: the total time, however slowly something arrives."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)
        hung_up.set()

    hung_up = asyncio.Event()
    served = Site(free_port(), lambda _: b"")
    async with await asyncio.start_server(drip, "127.0.0.1", served.port):
        started = asyncio.get_running_loop().time()
        with pytest.raises(TransientError, match=r"within 0\.5 seconds"):
            await fetch(served, seconds=0.5)
        assert asyncio.get_running_loop().time() - started < 3
        await asyncio.wait_for(hung_up.wait(), 5)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("404 Not Found", UnreadableDocumentError),
        ("401 Unauthorized", UnreadableDocumentError),
        ("204 No Content", UnreadableDocumentError),
        ("304 Not Modified", UnreadableDocumentError),
        ("429 Too Many Requests", TransientError),
        ("503 Service Unavailable", TransientError),
    ],
)
async def test_a_status_decides_whether_trying_again_may_help(status: str, kind: type[SluiceError]) -> None:
    async with site(lambda _: answer(status=status)) as served:
        with pytest.raises(kind, match=status[:3]):
            await fetch(served)


async def test_a_server_that_is_away_or_breaks_off_may_come_back() -> None:
    async with site(lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal") as served:
        with pytest.raises(TransientError, match="breaks off"):
            await fetch(served)
    with pytest.raises(TransientError, match="cannot be connected to"):
        await fetch(Site(free_port(), lambda _: b""))


async def test_the_systems_resolver_gives_every_address_once_and_says_when_there_is_none() -> None:
    assert "127.0.0.1" in await resolve_host("localhost", 80)
    with pytest.raises((UnreadableDocumentError, TransientError), match="name"):
        await resolve_host("no-such-host.invalid", 80)


def certificate(folder: Path, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS of a server with a certificate for this host, and of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1)
    )
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    file = folder / f"{host}.pem"
    file.write_bytes(
        builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cafile=str(file))


async def test_over_https_the_certificate_is_checked_against_the_host_name_not_the_address(tmp_path: Path) -> None:
    asked: list[str | None] = []
    server, client = certificate(tmp_path, "site.example")
    server.sni_callback = lambda _connection, name, _context: asked.append(name)
    names = Names(site_example=[["127.0.0.1"]], other_example=[["127.0.0.1"]])
    async with site(lambda _: answer(b"safe"), server) as served:
        fetcher = WebFetcher(LIMITS, allowed=[served.allowed], resolve=names, tls=client)
        assert (await fetcher(f"https://site.example:{served.port}/")).data == b"safe"
        with pytest.raises(TransientError):
            await fetcher(f"https://other.example:{served.port}/")
        assert asked == ["site.example", "other.example"]
