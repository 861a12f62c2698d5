"""Takes out of a text what nobody sees: it hides instructions from readers, and words from the search."""

import re
import unicodedata

_CONTROLS = "\0-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"
_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"
_ZERO_WIDTH = "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u3164\ufeff\uffa0"
_TAGS_AND_SELECTORS = "\ufe00-\ufe0f\U000e0000-\U000e0fff"
_PRIVATE = "\ue000-\uf8ff\U000f0000-\U0010ffff"
_NONCHARACTERS = "\ufdd0-\ufdef\ufff0-\ufffb\ufffe\uffff"
_INVISIBLE = re.compile(f"[{_CONTROLS}{_BIDI}{_ZERO_WIDTH}{_TAGS_AND_SELECTORS}{_PRIVATE}{_NONCHARACTERS}]")
_LATIN_JOINER = re.compile("(?<![\u0590-\u1fff])[\u200c\u200d]")
"""Persian and the scripts of India are written with joiners; after any other letter they only hide something."""
_LINE_ENDS = re.compile("\r\n?|[\v\f\x85\u2028\u2029]")
_LIGATURES = {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0xFB00, 0xFB07)}
_BLANKS_AT_LINE_ENDS = re.compile(r"(?<![ \t\u00a0])[ \t\u00a0]+\n")  # tried once a run of blanks, so never quadratic
_BLANK_LINES = re.compile(r"\n{3,}")


def clean(text: str) -> str:
    """The text without invisible and control characters, with `\\n` as its only line end. Columns and quotes stay."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = _LATIN_JOINER.sub("", _INVISIBLE.sub("", _LINE_ENDS.sub("\n", text)))
    return text.translate(_LIGATURES)


def tidy(text: str) -> str:
    """The cleaned text without blanks at line ends, and with one blank line at most."""
    return _BLANK_LINES.sub("\n\n", _BLANKS_AT_LINE_ENDS.sub("\n", clean(text))).strip()


def title_from(candidate: object) -> str | None:
    """A document's own title on one line, at most 200 characters; None for what is none."""
    line = " ".join(clean(candidate).split()) if isinstance(candidate, str) else ""
    return line[:200] or None
