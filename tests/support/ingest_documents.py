"""Small documents, made where they are needed."""

import zipfile
from io import BytesIO

import docx
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas


def pdf(*pages: str, title: str | None = None, password: str | None = None) -> bytes:
    """A PDF with a line of text a page; a page without text is blank."""
    file = BytesIO()
    encryption = StandardEncryption(password, canPrint=0) if password is not None else None
    canvas = Canvas(file, encrypt=encryption)
    if title:
        canvas.setTitle(title)
    for text in pages:
        if text:
            canvas.drawString(72, 720, text)
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def word(*paragraphs: str, header: str = "", table: tuple[tuple[str, ...], ...] = (), title: str = "") -> bytes:
    document = docx.Document()
    document.core_properties.title = title
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    if header:
        document.sections[0].header.paragraphs[0].text = header
    if table:
        grid = document.add_table(len(table), len(table[0]))
        for row, cells in zip(grid.rows, table, strict=True):
            for cell, text in zip(row.cells, cells, strict=True):
                cell.text = text
    file = BytesIO()
    document.save(file)
    return file.getvalue()


def archive(**parts: str | bytes) -> bytes:
    """A zip with these parts; `__` in a name stands for `/`, `_xml` for `.xml`."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in parts.items():
            zipped.writestr(name.replace("__", "/").replace("_xml", ".xml"), content)
    return file.getvalue()


def word_xml(body: str, before: str = "") -> bytes:
    """A DOCX of which only the body's XML is given."""
    namespace = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    return archive(
        word__document_xml=f'<?xml version="1.0"?>{before}<w:document {namespace}><w:body>{body}</w:body></w:document>'
    )


def paragraph(text: str) -> str:
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"
