"""DOCX, through langchain-community's Docx2txtLoader, after the archive and its XML were found harmless."""

import re
import zipfile
from io import BytesIO
from pathlib import Path

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser
from docx2txt.docx2txt import xml2text  # pyright: ignore[reportUnknownVariableType]
from langchain_community.document_loaders.word_document import Docx2txtLoader

from ingest_worker.documents import ParsedDocument, ParserLimits, Section
from ingest_worker.kinds import Kind
from ingest_worker.parsers.cleaning import tidy, title_from
from ingest_worker.parsers.memory_file import memory_file
from sluice.errors import UnreadableDocumentError

_READ = re.compile(r"word/(document|(header|footer)[0-9]*|footnotes|endnotes)\.xml|docProps/core\.xml")
_NOTES = ("word/footnotes.xml", "word/endnotes.xml")
_TITLE = re.compile(r"<dc:title>([^<]{1,1000})</dc:title>")
_SMALL = 1_000_000


def parse(data: bytes, limits: ParserLimits) -> ParsedDocument:
    with zipfile.ZipFile(BytesIO(data)) as archive:
        check_unpacked_size(archive, len(data), limits)
        names = set(archive.namelist())
        for name in filter(_READ.fullmatch, names):
            _check_xml(archive.read(name))
        # the loader leaves foot- and endnotes out
        notes = [xml2text(archive.read(name)) for name in _NOTES if name in names]
        core = archive.read("docProps/core.xml").decode("utf-8", "replace") if "docProps/core.xml" in names else ""
    with memory_file(data) as path:
        body = Docx2txtLoader(Path(path)).load()[0].page_content
    title = _TITLE.search(core)
    text = tidy("\n\n".join([body, *notes]))
    return ParsedDocument(Kind.DOCX, title_from(title.group(1)) if title else None, (Section(text),))


def check_unpacked_size(archive: zipfile.ZipFile, packed: int, limits: ParserLimits) -> None:
    """Refuses a zip bomb by what its directory declares; zipfile never unpacks more than that.

    Raises:
        UnreadableDocumentError: names the limit.
    """
    entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    if len(entries) > limits.unpacked_entries:
        raise UnreadableDocumentError(f"the DOCX holds more than {limits.unpacked_entries} parts")
    if unpacked > limits.unpacked_bytes:
        raise UnreadableDocumentError(f"the DOCX unpacks to more than {limits.unpacked_bytes // 1_000_000} MB")
    if unpacked > max(_SMALL, packed * limits.unpacked_ratio):
        raise UnreadableDocumentError(f"the DOCX unpacks to more than {limits.unpacked_ratio} times its size")
    if any(entry.flag_bits & 1 for entry in entries):
        raise UnreadableDocumentError("the DOCX is protected with a password: remove it and upload it again")


class _Nothing:
    """A parser target that keeps nothing: the document is only read through."""

    def close(self) -> None:
        return None


def _check_xml(part: bytes) -> None:
    parser = DefusedXMLParser(target=_Nothing(), forbid_dtd=True)
    try:
        parser.feed(part)
        parser.close()
    except DefusedXmlException as error:
        raise UnreadableDocumentError("the DOCX declares XML entities, which no word processor writes") from error
