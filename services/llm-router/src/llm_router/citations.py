"""Citations in a streamed answer: those of passages that were given stay, others vanish."""

import re
from collections.abc import Collection, Iterator

_SPECIAL = re.compile(r"`+|\n|[ \t]?\[|[ \t]\Z")
_CITATION = re.compile(r"[ \t]?\[\s*(\d{1,3}(?:\s*[,;–-]\s*\d{1,3})*)\s*\]")
_UNFINISHED = re.compile(r"[ \t]?(\[[\d\s,;–-]{0,40}\]?)?\Z")


class CitationFilter:
    """Takes an answer piece by piece; holds back no more than an open bracket and the space before it.

    `[1, 2]` becomes `[1][2]`. Code between backticks, links, images and an index such as `a[0]` stay as they are.
    `cited` holds the numbers that were kept, in the order of their first use.
    """

    def __init__(self, given: Collection[int]) -> None:
        self._given = frozenset(given)
        self._held = ""
        self._before = "\n"
        self._code = ""
        self.cited: list[int] = []

    def feed(self, text: str) -> str:
        """What can be shown now."""
        return self._filtered(self._held + text, last=False)

    def finish(self) -> str:
        """What was held back, when no more comes."""
        return self._filtered(self._held, last=True)

    def _filtered(self, text: str, *, last: bool) -> str:
        shown: list[str] = []
        start = 0
        self._held = ""
        while special := _SPECIAL.search(text, start):
            shown.append(self._passed(text[start : special.start()]))
            if not last and self._undecided(text, special):
                self._held = text[special.start() :]
                return "".join(shown)
            replacement, start = self._decided(text, special)
            shown.append(self._passed(replacement))
        shown.append(self._passed(text[start:]))
        return "".join(shown)

    def _passed(self, text: str) -> str:
        self._before = text[-1:] or self._before
        return text

    def _undecided(self, text: str, special: re.Match[str]) -> bool:
        if special[0].startswith("`"):
            return special.end() == len(text)
        return special[0] != "\n" and not self._code and _UNFINISHED.match(text, special.start()) is not None

    def _decided(self, text: str, special: re.Match[str]) -> tuple[str, int]:
        """What to show in place of a special, and where to go on."""
        if special[0] == "\n" or special[0].startswith("`"):
            self._toggle_code(special[0])
            return special[0], special.end()
        citation = None if self._code else _CITATION.match(text, special.start())
        if citation and not self._is_other_syntax(text, citation):
            return self._kept(citation), citation.end()
        return special[0], special.end()

    def _toggle_code(self, mark: str) -> None:
        """A code span ends with its line at the latest, so that a stray backtick does not switch the filter off."""
        if mark == "\n":
            self._code = self._code if len(self._code) >= 3 else ""
        elif not self._code:
            self._code = mark
        elif mark == self._code:
            self._code = ""

    def _is_other_syntax(self, text: str, citation: re.Match[str]) -> bool:
        image_or_link = self._before == "!" or text[citation.end() : citation.end() + 1] == "("
        first_of_a_list = citation[1] == "0" and not citation[0][0].isspace() and self._before.isalnum()
        return image_or_link or first_of_a_list

    def _kept(self, citation: re.Match[str]) -> str:
        numbers = [number for number in _numbers(citation[1]) if number in self._given]
        self.cited += [number for number in dict.fromkeys(numbers) if number not in self.cited]
        space = citation[0][0] if citation[0][0] in " \t" else ""
        return space + "".join(f"[{number}]" for number in numbers) if numbers else ""


def _numbers(listed: str) -> Iterator[int]:
    for part in re.split(r"\s*[,;]\s*", listed):
        first, _, last = re.sub(r"\s*[–-]\s*", "-", part).partition("-")
        yield from range(int(first), int(last.rpartition("-")[2] or first) + 1)
