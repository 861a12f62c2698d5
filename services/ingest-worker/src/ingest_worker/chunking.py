"""Cuts a document's text into the chunks that are embedded and quoted."""

from collections.abc import Iterable
from dataclasses import dataclass

from langchain_text_splitters import RecursiveCharacterTextSplitter

from ingest_worker.documents import SECTION_GAP, Section

CHUNK_CHARACTERS = 1000
CHUNK_OVERLAP = 200


@dataclass(frozen=True)
class Chunk:
    """At most 1000 characters of one section; `offset` counts characters of the whole extracted text, `page` from 1."""

    text: str
    page: int | None
    offset: int
    ordinal: int


class _Splitter(RecursiveCharacterTextSplitter):
    """Cuts what has no blank in it as the library does, but not character by character: 20 MB took it 100 s."""

    def _split_text(self, text: str, separators: list[str]) -> list[str]:
        if any(separator and separator in text for separator in separators):
            return super()._split_text(text, separators)
        step = CHUNK_CHARACTERS - CHUNK_OVERLAP
        starts = range(0, max(len(text) - CHUNK_OVERLAP, 1), step)
        pieces = (text[start : start + CHUNK_CHARACTERS].strip() for start in starts)
        return [piece for piece in pieces if piece]


def split(sections: Iterable[Section]) -> list[Chunk]:
    """The chunks in reading order. None crosses sections; in a long section, neighbours share up to 200 characters."""
    splitter = _Splitter(chunk_size=CHUNK_CHARACTERS, chunk_overlap=CHUNK_OVERLAP, add_start_index=True)
    chunks: list[Chunk] = []
    start = 0
    for section in sections:
        for piece in splitter.create_documents([section.text]):
            offset = start + piece.metadata["start_index"]
            chunks.append(Chunk(piece.page_content, section.page, offset, len(chunks)))
        start += len(section.text) + len(SECTION_GAP)
    return chunks
