"""HTML, by trafilatura: the article without menus. BSHTMLLoader keeps menus, scripts and hidden text."""

import codecs
import re
from typing import Any

import lxml.html
import trafilatura

from ingest_worker.documents import ParsedDocument, ParserLimits, Section
from ingest_worker.kinds import Kind
from ingest_worker.parsers.cleaning import tidy, title_from
from ingest_worker.parsers.decoding import decode

_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{2,40})", re.I)
html: Any = lxml.html  # has no types
_UNSEEN = (
    "//script | //style | //noscript | //template | //iframe | //object | //svg | //comment() | //*[@hidden]"
    " | //*[@aria-hidden='true'] | //input[@type='hidden']"
)
_HIDING = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0|opacity\s*:\s*0(?![.\d])", re.I)


def parse(data: bytes, limits: ParserLimits) -> ParsedDocument:
    page = html.document_fromstring(_decode(data).encode(), parser=html.HTMLParser(encoding="utf-8"))
    title = title_from(page.findtext(".//title"))
    _drop_unseen(page)
    return ParsedDocument(Kind.HTML, title, (Section(tidy(_article(page) or "")),))


def _decode(data: bytes) -> str:
    declared = _CHARSET.search(data[:4096])
    if declared and not data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return data.decode(declared.group(1).decode("ascii"))
        except (LookupError, UnicodeDecodeError):
            pass  # a page that declares wrongly is read like one that declares nothing
    return decode(data)


def _drop_unseen(page: Any) -> None:
    styled = [element for element in page.iterfind(".//*[@style]") if _HIDING.search(element.get("style", ""))]
    for element in [*page.xpath(_UNSEEN), *styled]:
        if element.getparent() is not None:
            element.drop_tree()


def _article(page: Any) -> str | None:
    """The article; the whole body for a page too short to tell what its article is."""
    article = trafilatura.extract(page, include_comments=False, include_tables=True, favor_recall=True)
    return article or trafilatura.html2txt(page)
