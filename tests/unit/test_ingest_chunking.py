"""Chunks: their size, their place, and that nothing is lost between them."""

import string
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_text_splitters import RecursiveCharacterTextSplitter

from ingest_worker.chunking import CHUNK_CHARACTERS, split
from ingest_worker.documents import SECTION_GAP, ParserLimits, Section
from ingest_worker.parsers.table import parse as parse_csv

WORDS = st.text(string.ascii_letters + "äß漢字.,", min_size=1, max_size=60)
GAPS = st.sampled_from([" ", " ", " ", "\n", "\n\n"])
ANY_SECTIONS = st.lists(st.text(max_size=6000), max_size=4)


def whole(sections: list[Section]) -> str:
    return SECTION_GAP.join(section.text for section in sections)


@st.composite
def numbered_sections(draw: st.DrawFn) -> list[Section]:
    """Texts in which every word is there once, so that a chunk has one place alone."""
    sections: list[Section] = []
    number = 0
    for page in range(1, draw(st.integers(1, 4)) + 1):
        text = ""
        for _ in range(draw(st.integers(0, 250))):
            number += 1
            text += f"{draw(WORDS)}{number:06}{draw(GAPS)}"
        sections.append(Section(text, page))
    return sections


@given(ANY_SECTIONS)
def test_no_chunk_is_longer_than_1000_characters_and_each_stands_at_its_offset(texts: list[str]) -> None:
    sections = [Section(text) for text in texts]
    for chunk in split(sections):
        assert 0 < len(chunk.text) <= CHUNK_CHARACTERS
        assert whole(sections)[chunk.offset :].startswith(chunk.text)


@settings(max_examples=25, deadline=None)
@given(numbered_sections())
def test_every_word_is_in_a_chunk_of_its_own_page(sections: list[Section]) -> None:
    text, chunks = whole(sections), split(sections)
    covered = bytearray(len(text))
    for chunk in chunks:
        covered[chunk.offset : chunk.offset + len(chunk.text)] = b"\1" * len(chunk.text)
        page = next(s for s in sections if chunk.text in s.text)
        assert chunk.page == page.page
    assert all(seen or character.isspace() for seen, character in zip(covered, text, strict=True))
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("aä漢\t"), st.integers(1, 3000), st.sampled_from(["", " ", "\n\n"]))))
def test_a_long_word_is_cut_as_the_library_cuts_it(words: list[tuple[str, int, str]]) -> None:
    text = "".join(character * length + gap for character, length, gap in words)
    library = RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=200)
    assert [chunk.text for chunk in split([Section(text)])] == library.split_text(text)


@pytest.mark.parametrize("length", [1, 199, 200, 201, 999, 1000, 1001, 1800, 1801, 2600, 2601])
def test_a_word_of_any_length_is_cut_as_the_library_cuts_it(length: int) -> None:
    text = "".join(chr(0x4E00 + number % 5000) for number in range(length))
    library = RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=200)
    assert [chunk.text for chunk in split([Section(text)])] == library.split_text(text)


def test_a_word_of_20_mb_is_cut_soon() -> None:
    """case 35: as long as a document may be; the worker does it, and not the parser's child."""
    began = time.monotonic()
    chunks = split([Section("A" * ParserLimits().text_characters)])
    assert time.monotonic() - began < 10
    assert len(chunks) == 25_000


def test_neighbours_in_a_long_section_share_up_to_200_characters() -> None:
    text = " ".join(f"word{n:05}" for n in range(1000))
    chunks = split([Section(text)])
    shared = [a.offset + len(a.text) - b.offset for a, b in pairwise(chunks)]
    assert len(chunks) > 10
    assert all(150 < overlap <= 200 for overlap in shared)


def test_a_text_without_any_separator_is_cut_all_the_same() -> None:
    chunks = split([Section("A" * 10_000)])
    assert [chunk.offset for chunk in chunks] == list(range(0, 10_000, 800))
    assert [len(chunk.text) for chunk in chunks] == [1000] * 12 + [400]


def test_blank_sections_give_no_chunks_and_keep_the_offsets_right() -> None:
    chunks = split([Section("  \n ", 1), Section("", 2), Section("text", 3)])
    assert [(chunk.text, chunk.page, chunk.ordinal) for chunk in chunks] == [("text", 3, 0)]
    assert whole([Section("  \n "), Section(""), Section("text")])[chunks[0].offset :] == "text"


def test_rows_of_a_csv_are_grouped_and_none_is_split() -> None:
    lines = ["name,city,plan", *(f"Person {n},City {n},Plan {n}" for n in range(200))]
    chunks = split(parse_csv("\n".join(lines).encode(), ParserLimits()).sections)
    assert 1 < len(chunks) < 50
    for chunk in chunks:
        for row in chunk.text.split("\n\n"):
            number = row.split("Person ")[1].split("\n")[0]
            assert row == f"name: Person {number}\ncity: City {number}\nplan: Plan {number}"
