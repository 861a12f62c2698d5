"""PDF. Not through PyPDFLoader: it takes a second to import and gives up a document for one damaged page."""

import logging
from collections.abc import Iterator
from io import BytesIO

from pypdf import PageObject, PasswordType, PdfReader

from ingest_worker.documents import ParsedDocument, ParserLimits, Section
from ingest_worker.kinds import Kind
from ingest_worker.parsers.cleaning import tidy, title_from
from sluice.errors import UnreadableDocumentError


def parse(data: bytes, limits: ParserLimits) -> ParsedDocument:
    """A section a page that has text; pages are counted from 1."""
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    reader = PdfReader(BytesIO(data))
    _open(reader)
    sections: list[Section] = []
    unreadable: list[int] = []
    characters = 0
    for number, page in _pages(reader, limits.pages):
        text = _text(page)
        if text is None:
            unreadable.append(number)
        elif text:
            sections.append(Section(text, number))
            characters += len(text)
        if characters > limits.text_characters:
            break  # the caller refuses it; reading on would only cost
    if not sections:
        raise UnreadableDocumentError(_why_empty(unreadable))
    return ParsedDocument(Kind.PDF, _title(reader), tuple(sections), tuple(unreadable))


def _open(reader: PdfReader) -> None:
    """Many PDFs are encrypted with an empty password, only to forbid printing."""
    if reader.is_encrypted and reader.decrypt("") is PasswordType.NOT_DECRYPTED:
        raise UnreadableDocumentError("the PDF is protected with a password: remove the password and upload it again")


def _pages(reader: PdfReader, limit: int) -> Iterator[tuple[int, PageObject]]:
    for number, page in enumerate(reader.pages, start=1):
        if number > limit:
            raise UnreadableDocumentError(f"the PDF has more than {limit} pages: split it and upload the parts")
        yield number, page


def _text(page: PageObject) -> str | None:
    try:
        return tidy(page.extract_text())
    except MemoryError:
        raise
    except Exception:  # pypdf meets damaged content with errors of many types
        return None


def _why_empty(unreadable: list[int]) -> str:
    if unreadable:
        return "no text found: the pages of the PDF are damaged; print it to a new PDF and upload that"
    return "no text found: the PDF may be a scan; run text recognition (OCR) on it and upload the result"


def _title(reader: PdfReader) -> str | None:
    try:
        return title_from(reader.metadata.title if reader.metadata else None)
    except Exception:  # a damaged title is no reason to refuse the document
        return None
