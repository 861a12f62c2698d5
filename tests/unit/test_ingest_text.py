"""Bytes to text, and what is taken out of it."""

import codecs
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_worker.parsers.cleaning import clean, tidy, title_from
from ingest_worker.parsers.decoding import decode

GERMAN = "Die Rückerstattung dauert fünf Tage. Größere Beträge prüfen wir zusätzlich, wofür wir um Geduld bitten. " * 4
RUSSIAN = "Возврат средств занимает пять рабочих дней. Крупные суммы мы проверяем дополнительно. " * 4
JAPANESE = "返金には五営業日かかります。高額の場合は追加の確認が必要です。" * 8


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_german_is_read_in_every_usual_encoding(encoding: str) -> None:
    assert decode(GERMAN.encode(encoding)) == GERMAN


def test_utf16_big_endian_with_a_mark_is_read() -> None:
    assert decode(codecs.BOM_UTF16_BE + GERMAN.encode("utf-16-be")) == GERMAN


@pytest.mark.parametrize(
    ("text", "encoding"), [(RUSSIAN, "cp1251"), (RUSSIAN, "koi8-r"), (JAPANESE, "shift_jis"), (JAPANESE, "euc-jp")]
)
def test_other_scripts_are_recognised(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text


def test_one_damaged_byte_costs_one_character() -> None:
    data = (RUSSIAN * 20).encode() + b"\xff" + RUSSIAN.encode()
    assert decode(data) == RUSSIAN * 20 + "\ufffd" + RUSSIAN


@given(st.binary(max_size=2000))
def test_any_bytes_decode_to_something(data: bytes) -> None:
    assert isinstance(tidy(decode(data)), str)


@pytest.mark.parametrize(
    "hidden",
    [
        pytest.param("\u200b", id="zero-width space"),
        pytest.param("\u200d", id="joiner after a Latin letter"),
        pytest.param("\u202e", id="right-to-left override"),
        pytest.param("\u2066", id="isolate"),
        pytest.param("\ufeff", id="byte order mark inside"),
        pytest.param("\u00ad", id="soft hyphen"),
        pytest.param("\U000e0049\U000e0047\U000e004e", id="tag characters"),
        pytest.param("\ufe01\U000e0101", id="variation selectors"),
        pytest.param("\0\x07\x1b\x9f", id="controls"),
        pytest.param("\ue000\U000f0000", id="private use"),
        pytest.param("\ufffe\uffff", id="noncharacters"),
        pytest.param("\u3164\u115f", id="blank letters"),
    ],
)
def test_what_nobody_sees_is_taken_out(hidden: str) -> None:
    assert clean(f"re{hidden}fund") == "refund"


@pytest.mark.parametrize("word", ["می\u200cخواهم", "क्\u200dष", "👍", "naïve", "日本語", "\ufffd", "a\tb"])
def test_what_a_script_needs_stays(word: str) -> None:
    assert clean(word) == word


def test_lone_surrogates_and_ligatures_become_characters_that_can_be_written_and_found() -> None:
    assert clean("\ud83d\ude00 \ud800 \ufb01nal o\ufb03ce") == "😀 \ufffd final office"


def test_line_ends_become_one_and_blank_lines_few() -> None:
    assert tidy("\r\none  \r\ntwo\x0cthree\u2028four\n \n\n\nfive\t\n") == "one\ntwo\nthree\nfour\n\nfive"


@pytest.mark.parametrize(
    ("candidate", "title"), [("  A \n title\u200b ", "A title"), ("x" * 300, "x" * 200), ("\0", None), (7, None)]
)
def test_a_title_is_one_clean_line(candidate: object, title: str | None) -> None:
    assert title_from(candidate) == title


def test_a_million_blanks_are_tidied_in_no_time() -> None:
    started = time.process_time()
    assert tidy("a" + " " * 1_000_000 + "b" + " " * 1_000_000 + "\nc") == "a" + " " * 1_000_000 + "b\nc"
    assert time.process_time() - started < 1
