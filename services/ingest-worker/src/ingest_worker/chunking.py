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


def split(sections: Iterable[Section]) -> list[Chunk]:
    """The chunks in reading order. None crosses sections; in a long section, neighbours share up to 200 characters."""
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=CHUNK_CHARACTERS, chunk_overlap=CHUNK_OVERLAP, add_start_index=True
    )
    chunks: list[Chunk] = []
    start = 0
    for section in sections:
        for piece in splitter.create_documents([section.text]):
            offset = start + piece.metadata["start_index"]
            chunks.append(Chunk(piece.page_content, section.page, offset, len(chunks)))
        start += len(section.text) + len(SECTION_GAP)
    return chunks
