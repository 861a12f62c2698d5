"""Bytes to text: byte order marks, UTF-8, UTF-16 without a mark, else what charset-normalizer finds."""

import codecs

from charset_normalizer import from_bytes

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE_BYTES = 200_000


def decode(data: bytes) -> str:
    """The text of a file in any encoding. Bytes that fit none become U+FFFD."""
    marked = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)
    if marked:
        return data.decode(marked, "replace")
    wide = _utf16_without_mark(data)
    if wide:
        return data.decode(wide, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        return data.decode(_found(data, error.start), "replace")


def _utf16_without_mark(data: bytes) -> str | None:
    """Most text has characters below U+0100: in UTF-16, every second byte of it is a NUL."""
    sample = data[:4096]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) < len(sample) // 5 or min(even, odd) > max(even, odd) // 4:
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _found(data: bytes, first_bad: int) -> str:
    """The likeliest encoding; UTF-8 when all but a thousandth of the bytes are valid as such: a damaged file."""
    if data.decode("utf-8", "replace").count("\ufffd") * 1000 < len(data):
        return "utf-8"
    start = max(0, first_bad - _SAMPLE_BYTES // 2)
    best = from_bytes(data[start : start + _SAMPLE_BYTES]).best()
    return best.encoding if best else "cp1252"
