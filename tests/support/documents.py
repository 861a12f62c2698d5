"""Small documents of every format, made on the spot."""

from collections.abc import Sequence
from pathlib import Path

import docx
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas


def pdf(file: Path, pages: Sequence[str]) -> Path:
    """A PDF with the text of each page on a page of its own, lines broken at 90 characters."""
    canvas = Canvas(str(file), pagesize=A4)
    for text in pages:
        words, lines = text.split(), [""]
        for word in words:
            if len(lines[-1]) + len(word) > 90:
                lines.append("")
            lines[-1] = f"{lines[-1]} {word}".strip()
        for number, line in enumerate(lines):
            canvas.drawString(60, 780 - 16 * number, line)
        canvas.showPage()
    canvas.save()
    return file


def word(file: Path, paragraphs: Sequence[str]) -> Path:
    document = docx.Document()
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    document.save(str(file))
    return file


def text(file: Path, content: str, *, encoding: str = "utf-8") -> Path:
    file.write_bytes(content.encode(encoding))
    return file
