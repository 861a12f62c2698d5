"""Fuzzing of what stands before strangers' files and addresses: whatever comes, it is read or refused."""

import asyncio
import ipaddress
import random
import socket
import time
import zipfile
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from ingest_worker.adapters.parser_process import ParserProcess
from ingest_worker.adapters.web import WebFetcher, WebLimits
from ingest_worker.addresses import check_addresses, parse_url
from ingest_worker.documents import ParserLimits
from ingest_worker.kinds import kind_of
from sluice.errors import UnreadableDocumentError
from tests.chaos.conftest import Pick
from tests.chaos.report import Figures
from tests.support.hostile_files import hostile_files
from tests.support.ingest_documents import archive, paragraph, pdf, word, word_xml

_ROUND = 50
_GOOD = [
    pdf("Refunds take five days.", "Cards are blocked.", title="Handbook"),
    word("Refunds take five days.", header="Confidential", table=(("Plan", "Price"), ("Basic", "10 EUR"))),
    b"name,note\nAnna,five days\nBob,six days\n",
    b"# Refunds\n\n- five days\n",
    b"<!doctype html><html><head><title>T</title></head><body><p>Five days.</p></body></html>",
]
_SMALL_HOSTILE = [file.data for file in hostile_files() if 0 < len(file.data) < 3000]
_DOCUMENT_XML = zipfile.ZipFile(BytesIO(word_xml(paragraph("Refunds take five days.") * 3))).read("word/document.xml")
_PIECES = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [b"%PDF-1.7\n", b"PK\x03\x04", b"<!DOCTYPE x [<!ENTITY a 'b'>]>", b"endobj", b"stream\n", b"\0" * 99]
    ),
    st.sampled_from(
        [b"<", b">>", b"[" * 500, b'"', b"\n\n", b"\xff\xfe", b"2147483648", b"-1", b" 0 R", b"<table><tr>"]
    ),
)
_NAMES = st.one_of(
    st.sampled_from(["a.pdf", "a.docx", "a.csv", "a.md", "a.html", "a", "../../a.csv"]), st.text(max_size=9)
)


@st.composite
def changed(draw: st.DrawFn, data: bytes) -> bytes:
    """The data with stretches cut out, doubled or replaced, or cut off."""
    made = bytearray(data)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(made)))
        stop = min(len(made), start + draw(st.integers(0, 20)))
        made[start:stop] = draw(_PIECES) + bytes(made[start:stop]) * draw(st.integers(0, 3))
    cut_off = draw(st.integers(0, 4)) == 0
    return bytes(made[: draw(st.integers(0, len(made)))] if cut_off else made)


def files() -> st.SearchStrategy[bytes]:
    """Documents that something was done to, DOCX ones also inside of their archive."""
    inside = changed(_DOCUMENT_XML).map(lambda xml: archive(word__document_xml=xml))
    return st.one_of(inside, *(changed(data) for data in _GOOD), st.sampled_from(_SMALL_HOSTILE).flatmap(changed))


def fuzz(seconds: float, holds: Callable[..., None], **drawn: st.SearchStrategy[Any]) -> int:
    """Tries what holds with ever new examples until the time is over; gives how many there were."""
    ends, tried = time.monotonic() + seconds, 0

    def one(**values: Any) -> None:
        nonlocal tried
        tried += 1
        holds(**values)

    rounds = settings(
        max_examples=_ROUND,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    while time.monotonic() < ends:
        seed(random.getrandbits(64))(rounds(given(**drawn)(one)))()
    return tried


def test_a_file_of_any_bytes_is_read_or_refused(pick: Pick, figures: Figures) -> None:
    """cases 31, 32, 33, 35: never another error, never beyond the time, and the next file is read."""
    limits = ParserLimits(seconds=20, memory_bytes=512 * 1024 * 1024)
    parse, ends = ParserProcess(limits), {"read": 0, "refused": 0, "crashed": 0}

    def holds(data: bytes, name: str) -> None:
        try:
            kind_of(data, name)
        except UnreadableDocumentError:
            ends["refused"] += 1
            return
        began = time.monotonic()
        try:
            runner.run(parse(data, name))
            ends["read"] += 1
        except UnreadableDocumentError as error:
            ends["crashed" if "crash" in error.detail else "refused"] += 1
        assert time.monotonic() - began < limits.seconds + 5

    with asyncio.Runner() as runner:
        figures.requests = fuzz(pick(8, 400), holds, data=files(), name=_NAMES)
        assert runner.run(parse(_GOOD[0], "a.pdf")).title == "Handbook"
    figures.more = dict(ends)
    assert ends["read"]
    assert ends["refused"]


def _private() -> st.SearchStrategy[ipaddress.IPv4Address]:
    networks = ("127.0.0.0/8", "10.0.0.0/8", "192.168.0.0/16", "172.16.0.0/12", "169.254.0.0/16", "100.64.0.0/10")
    return st.sampled_from(networks).flatmap(lambda network: st.ip_addresses(v=4, network=network))


def _inside(address: ipaddress.IPv4Address) -> list[str]:
    """As it stands in IPv6 addresses that lead to it: mapped, compatible, NAT64, 6to4."""
    number = int(address)
    prefixes = (0xFFFF << 32, 0, 0x64FF9B << 96, 0x64FF9B0001 << 80)
    return [str(ipaddress.IPv6Address(prefix | number)) for prefix in prefixes] + [
        str(ipaddress.IPv6Address(0x2002 << 112 | number << 80))
    ]


def _spelled(address: ipaddress.IPv4Address) -> st.SearchStrategy[str]:
    """Ways to write an address that resolvers in C, browsers and IDNA take for it."""
    number, (a, b, c, d) = int(address), address.packed
    wide = str(address).translate({ord("0") + n: chr(0xFF10 + n) for n in range(10)})
    return st.sampled_from(
        [
            *(str(address), f"{address}.", str(number), hex(number), oct(number).replace("0o", "0"), wide),
            *(f"{a}.{number & 0xFFFFFF}", f"{a}.{b}.{c << 8 | d}", f"0x{a:x}.{b}.{c}.{d}", f"{a:o}.{b}.{c}.0{d:o}"),
            *(str(address).replace(".", "。"), str(address).replace(".", "%2e"), f"{a:03}.{b:03}.{c}.{d}"),
            *(f"[{text}]" for text in _inside(address)),
            *(f"user@{address}", f"example.com@{address}", f"{address}#@example.com", f"{address}\\@example.com"),
        ]
    )


_ODD = st.text(alphabet="ahtps:/\\@#?%[]0123456789.-_ \t\n\0éß。１", max_size=30)
_URLS = st.one_of(
    st.builds("{}{}{}{}".format, st.sampled_from(["http://", "https://", "HTTP:", "file://", "//"]), _ODD, _ODD, _ODD),
    st.text(max_size=40),
)


def test_a_url_of_any_shape_leads_outside_at_a_known_port_or_is_refused(pick: Pick, figures: Figures) -> None:
    """cases 25, 26, 27: what is taken has a plain host, and what its path holds cannot become another header."""

    def holds(url: str) -> None:
        try:
            target = parse_url(url)
        except UnreadableDocumentError:
            return
        assert target.scheme in ("http", "https")
        assert target.port in (80, 443)
        assert target.host.isascii()
        assert not set(target.host) & set("@/\\#?% \r\n\t\0[]")
        assert target.path.startswith("/")
        assert target.path.isprintable()
        assert " " not in target.path

    figures.requests = fuzz(pick(2, 60), holds, url=_URLS)


def test_no_address_that_leads_inside_is_taken_in_any_spelling(pick: Pick, figures: Figures) -> None:
    """cases 24, 26: as it is written, as it is resolved, alone and beside one outside; no connection is tried."""

    async def as_resolvers_do(host: str, _: int) -> Sequence[str]:
        try:
            return [socket.inet_ntoa(socket.inet_aton(host))]
        except OSError:
            return ["93.184.216.34", host]

    async def no_connection(*_: object, **__: object) -> None:
        raise AssertionError("a connection was tried")

    fetch = WebFetcher(WebLimits(seconds=5), resolve=as_resolvers_do)

    def holds(address: ipaddress.IPv4Address, data: st.DataObject, any_address: Any) -> None:
        with pytest.raises(UnreadableDocumentError, match="may not be fetched"):
            runner.run(fetch(f"http://{data.draw(_spelled(address))}/"))
        for inside in [str(address), *_inside(address)]:
            with pytest.raises(UnreadableDocumentError):
                check_addresses(["93.184.216.34", inside], 443)
        if not any_address.is_global or any_address.is_multicast or any_address.is_reserved:
            with pytest.raises(UnreadableDocumentError):
                check_addresses([str(any_address)], 80)

    with asyncio.Runner() as runner, pytest.MonkeyPatch.context() as patched:
        patched.setattr(asyncio.BaseEventLoop, "create_connection", no_connection)
        figures.requests = fuzz(pick(4, 140), holds, address=_private(), data=st.data(), any_address=st.ip_addresses())
