"""Which kind of file these bytes are. A name's ending tells only one kind of text from another."""

import re
import zipfile
from enum import StrEnum
from io import BytesIO
from pathlib import PurePosixPath

from sluice.errors import UnreadableDocumentError


class Kind(StrEnum):
    PDF = "PDF"
    DOCX = "DOCX"
    CSV = "CSV"
    TXT = "TXT"
    MARKDOWN = "Markdown"
    HTML = "HTML"


TAKEN = "Sluice reads PDF, DOCX, CSV, TXT, Markdown and HTML"
_TEXT_ENDINGS = {
    ".csv": Kind.CSV,
    ".tsv": Kind.CSV,
    ".md": Kind.MARKDOWN,
    ".markdown": Kind.MARKDOWN,
    ".html": Kind.HTML,
    ".htm": Kind.HTML,
    ".xhtml": Kind.HTML,
}
_BINARY_ENDINGS = {".pdf", ".docx", ".doc", ".xlsx", ".pptx", ".odt"}
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n", "an image: save it as a PDF with a text layer"),
    (b"\xff\xd8\xff", "an image: save it as a PDF with a text layer"),
    (b"GIF8", "an image: save it as a PDF with a text layer"),
    (b"II*\x00", "an image: save it as a PDF with a text layer"),
    (b"MM\x00*", "an image: save it as a PDF with a text layer"),
    (b"{\\rtf", "an RTF file: save it as DOCX"),
    (b"\x1f\x8b", "a gzip archive: upload the files in it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: upload the files in it"),
    (b"Rar!\x1a\x07", "a RAR archive: upload the files in it"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90\x00", "a program"),
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_HTML_START = re.compile(
    rb"(\s|<!--.{0,2000}?-->|<\?xml[^>]{0,200}\?>)*<(!doctype\s+html|html|head|body)[\s>]", re.I | re.S
)


def kind_of(data: bytes, name: str) -> Kind:
    """The kind of a file from its content; `name` may end in .csv, .md, .html.

    Raises:
        UnreadableDocumentError: for every other kind, with what to do about it.
    """
    if not data.strip(b"\0\t\n\r \xef\xbb\xbf"):
        raise UnreadableDocumentError("the file is empty")
    if b"%PDF-" in data[:1024]:
        return Kind.PDF
    if data.startswith(b"PK"):
        return _kind_of_zip(data)
    if data.startswith(_OLE):
        raise UnreadableDocumentError(_describe_ole(data))
    _refuse_binary(data)
    return _kind_of_text(data, PurePosixPath(name).suffix.lower())


def _kind_of_zip(data: bytes) -> Kind:
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UnreadableDocumentError(
            "the file is a damaged zip or DOCX: it may be cut off, upload it again"
        ) from error
    if "word/document.xml" in names:
        return Kind.DOCX
    if "xl/workbook.xml" in names:
        raise UnreadableDocumentError("the file is an Excel workbook: save each sheet as CSV")
    if "ppt/presentation.xml" in names:
        raise UnreadableDocumentError("the file is a PowerPoint presentation: save it as PDF")
    raise UnreadableDocumentError("the file is a zip archive and no DOCX: upload the files in it")


def _describe_ole(data: bytes) -> str:
    if "EncryptedPackage".encode("utf-16-le") in data:
        return "the file is protected with a password: remove the password and upload it again"
    if "WordDocument".encode("utf-16-le") in data:
        return "the file is an old Word document (.doc): save it as DOCX"
    return "the file is in an old Office format, or protected with a password: save it as DOCX, PDF or CSV without one"


def _refuse_binary(data: bytes) -> None:
    for magic, description in _MAGIC:
        if data.startswith(magic):
            raise UnreadableDocumentError(f"the file is {description}; {TAKEN}")
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        raise UnreadableDocumentError(f"the file is an image; {TAKEN}")
    head = data[:4096]
    controls = sum(byte < 32 and byte not in b"\0\t\n\r\f\v\x1b" for byte in head)
    if controls > len(head) // 20 and not head.startswith(_UTF16_BOMS):
        raise UnreadableDocumentError(f"the file is neither text nor a known format; {TAKEN}")


def _kind_of_text(data: bytes, ending: str) -> Kind:
    if ending in _BINARY_ENDINGS:
        raise UnreadableDocumentError(f"the file is named {ending} and is none: it holds text; {TAKEN}")
    if ending in (".csv", ".tsv", ".md", ".markdown"):
        return _TEXT_ENDINGS[ending]
    if _HTML_START.match(data[:8192].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe")):
        return Kind.HTML
    return _TEXT_ENDINGS.get(ending, Kind.TXT)
