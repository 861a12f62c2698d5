"""One kind of file a module, each with `parse(data, limits) -> ParsedDocument`; they run in the parser's child."""

from collections.abc import Callable
from importlib import import_module
from typing import cast

from ingest_worker.documents import ParsedDocument, ParserLimits
from ingest_worker.kinds import Kind

Parser = Callable[[bytes, ParserLimits], ParsedDocument]
_MODULES = {
    Kind.PDF: "pdf",
    Kind.DOCX: "word",
    Kind.CSV: "table",
    Kind.TXT: "plain",
    Kind.MARKDOWN: "markdown",
    Kind.HTML: "web_page",
}


def parser_for(kind: Kind) -> Parser:
    """The parser of one kind; only its module is imported, so that the child starts fast and holds little."""
    return cast(Parser, import_module(f"{__name__}.{_MODULES[kind]}").parse)
