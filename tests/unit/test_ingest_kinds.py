"""Which kind of file it is."""

import pytest

from ingest_worker.kinds import Kind, kind_of
from sluice.errors import UnreadableDocumentError
from tests.support.ingest_documents import archive, pdf, word

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500


@pytest.mark.parametrize("name", ["report.pdf", "report.txt", "report", "report.docx", "../../report.csv"])
def test_a_pdf_and_a_docx_are_known_by_their_content_whatever_they_are_called(name: str) -> None:
    assert kind_of(pdf("text"), name) is Kind.PDF
    assert kind_of(word("text"), name) is Kind.DOCX


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", Kind.CSV),
        ("A.CSV", Kind.CSV),
        ("a.tsv", Kind.CSV),
        ("a.md", Kind.MARKDOWN),
        ("a.markdown", Kind.MARKDOWN),
        ("a.txt", Kind.TXT),
        ("a.html", Kind.HTML),
        ("a.log", Kind.TXT),
        ("no ending", Kind.TXT),
    ],
)
def test_the_ending_tells_one_kind_of_text_from_another(name: str, kind: Kind) -> None:
    assert kind_of(b"a,b\n1,2\n", name) is kind


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE html><p>x",
        b"\xef\xbb\xbf \n<html lang=en>",
        b"<!-- saved -->\n<HTML>",
        b'<?xml version="1.0"?><!doctype html>',
        "<html><body>x".encode("utf-16"),
    ],
)
def test_html_is_known_by_its_start(data: bytes) -> None:
    assert kind_of(data, "page") is Kind.HTML


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        (b"", "empty"),
        (b" \n\0\n", "empty"),
        (OLE, "old Office format"),
        (OLE + "WordDocument".encode("utf-16-le"), "old Word document"),
        (OLE + "EncryptedPackage".encode("utf-16-le"), "password"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "an image"),
        (b"\xff\xd8\xff\xe0" + bytes(99), "an image"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "an image"),
        (b"{\\rtf1 hello}", "RTF"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"\x7fELF\x02", "a program"),
        (bytes(range(256)) * 20, "neither text"),
        (archive(a_txt="x"), "zip archive and no DOCX"),
        (archive(xl__workbook_xml="x"), "save each sheet as CSV"),
        (archive(ppt__presentation_xml="x"), "save it as PDF"),
        (word("text")[:3000], "cut off"),
    ],
)
def test_anything_else_is_refused_with_what_to_do(data: bytes, advice: str) -> None:
    with pytest.raises(UnreadableDocumentError, match=advice):
        kind_of(data, "file.docx")


@pytest.mark.parametrize("name", ["invoice.pdf", "letter.docx"])
def test_text_that_is_called_a_pdf_or_docx_is_refused(name: str) -> None:
    with pytest.raises(UnreadableDocumentError, match="is none"):
        kind_of(b"<html><body>Sign in</body></html>", name)
