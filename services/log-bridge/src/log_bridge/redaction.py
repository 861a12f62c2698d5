"""Takes secrets and personal data out of log records before anybody sees them."""

import re
from collections.abc import Callable
from typing import Any, cast

_SECRET_NAME = re.compile(
    r"(?i)(?:^|[^a-z])(?:pass(?:word|wd|phrase|port)|pwd|secret|(?:access|auth|refresh|id|session|csrf|api)?[_-]?token"
    r"|authori[sz]ation|(?:api|access|private|secret|signing)[_-]?key|apikey|set-cookie|cookie|credentials?)s?$"
)
_NAMES = r"(?:password|passwd|pwd|secret|token|api[_-]?key|apikey|access[_-]?key|authorization|credentials?)"
_CARD = re.compile(r"(?<![\w.])(?:\d[ -]?){12,18}\d(?![\w.])")
_CARD_STARTS = re.compile(r"4|5[1-5]|2[2-7]|3[4-9]|6|81|82|508")

_Replacement = str | Callable[[re.Match[str]], str]


def _card(match: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", match[0])
    doubled = [int(d) * (2 if n % 2 else 1) for n, d in enumerate(reversed(digits))]
    valid = sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0
    return "[redacted:card]" if valid and _CARD_STARTS.match(digits) else match[0]


_PATTERNS: tuple[tuple[re.Pattern[str], _Replacement], ...] = (
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.S),
        "[redacted:key]",
    ),
    (re.compile(r"(?i)\b(bearer|basic)(\s+|%20)[\w.~+/=-]{6,}"), r"\1 [redacted:token]"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]+)?"), "[redacted:token]"),
    (
        re.compile(
            r"\b(?:sk-[\w-]{16,}|AIza[\w-]{30,}|AKIA[A-Z0-9]{16}|gh[opsu]_\w{20,}|xox[abprs]-[\w-]{10,}|cxt[ph]_\w{20,}"
            r"|rzp_(?:live|test)_\w{10,})"
        ),
        "[redacted:key]",
    ),
    (re.compile(r"(?i)(\b[a-z][a-z0-9+.-]{0,20}://)[^\s/@:]{0,256}:[^\s/@]{1,256}@"), r"\1[redacted]@"),
    (
        re.compile(
            rf"(?i)({_NAMES}\\*[\"']?\s*[=:]\s*)(?!\[redacted|(?:bearer|basic)\s)"
            r"(\"(?:\\.|[^\"\\])*\"?|'[^']*'|[^\s,;&\"'}]+(?:\"[^\"]*\")?)"
        ),
        r"\1[redacted]",
    ),
    (re.compile(r"(?<![\w.%+-])[\w.%+-]{1,256}@[\w-]{1,63}(?:\.[\w-]{1,63})+"), "[redacted:email]"),
    (_CARD, _card),
)


def redact_text(text: str) -> str:
    """The text without tokens, passwords, keys, e-mail addresses and card numbers."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def redact(value: Any) -> Any:
    """A JSON value, redacted in its texts, its names and its numbers, and emptied under names of secrets."""
    match value:
        case str():
            return redact_text(value)
        case dict():
            record = cast(dict[str, Any], value)
            return {redact_text(str(name)): _redact_member(str(name), member) for name, member in record.items()}
        case list():
            return [redact(member) for member in cast(list[Any], value)]
        case int() if not isinstance(value, bool) and (text := redact_text(str(value))) != str(value):
            return text
        case _:
            return value


def _redact_member(name: str, member: Any) -> Any:
    if not _SECRET_NAME.search(_spaced(name)):
        return redact(member)
    return _hide(member, numbers="token" not in name.lower())


def _hide(member: Any, *, numbers: bool) -> Any:
    """Without the texts, and without the numbers where they are not a count of tokens."""
    match member:
        case None | bool():
            return member
        case dict():
            inner = cast(dict[str, Any], member)
            return {redact_text(str(name)): _hide(value, numbers=numbers) for name, value in inner.items()}
        case list():
            return [_hide(value, numbers=numbers) for value in cast(list[Any], member)]
        case int() | float() if not numbers:
            return member
        case _:
            return "[redacted]"


def _spaced(name: str) -> str:
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
