"""What the parser gives, and the limits it works under. The parser's child imports this: standard library only."""

from dataclasses import dataclass

SECTION_GAP = "\n\n"
"""Between two sections of a document's whole extracted text, which offsets count in."""


NOT_ISOLATED = 77
"""The status of a parser's child that the kernel does not let give up the network: it has read nothing."""


@dataclass(frozen=True)
class Section:
    """A stretch of text that no chunk crosses: a page of a PDF (counted from 1), or the whole of another document."""

    text: str
    page: int | None = None


@dataclass(frozen=True)
class ParsedDocument:
    """A document's text; `title` is its own, if it has one; `unreadable_pages` are damaged, and not in the sections."""

    kind: str
    title: str | None
    sections: tuple[Section, ...]
    unreadable_pages: tuple[int, ...] = ()


@dataclass(frozen=True)
class ParserLimits:
    """How much of everything one document may use."""

    file_bytes: int = 50_000_000
    pages: int = 2000
    unpacked_bytes: int = 200_000_000
    unpacked_ratio: int = 200
    unpacked_entries: int = 5000
    seconds: float = 60
    memory_bytes: int = 1_000_000_000
    text_characters: int = 20_000_000
