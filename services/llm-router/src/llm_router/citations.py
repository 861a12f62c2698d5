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
        self._held = ""
        while special := _SPECIAL.search(text):
            shown.append(self._passed(text[: special.start()]))
            text = text[special.start() :]
            if not last and self._undecided(text, special[0]):
                self._held = text
                return "".join(shown)
            replacement, text = self._decided(text, special[0])
            shown.append(self._passed(replacement))
        shown.append(self._passed(text))
        return "".join(shown)

    def _passed(self, text: str) -> str:
        self._before = text[-1:] or self._before
        return text

    def _undecided(self, text: str, special: str) -> bool:
        if special.startswith("`"):
            return special == text
        return special != "\n" and not self._code and _UNFINISHED.match(text) is not None

    def _decided(self, text: str, special: str) -> tuple[str, str]:
        """What to show in place of the beginning of the text, and what remains of it."""
        if special == "\n" or special.startswith("`"):
            self._toggle_code(special)
            return special, text[len(special) :]
        citation = None if self._code else _CITATION.match(text)
        if citation is None or self._is_other_syntax(text, citation):
            return special, text[len(special) :]
        return self._kept(citation, text[citation.end() :])

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

    def _kept(self, citation: re.Match[str], rest: str) -> tuple[str, str]:
        numbers = [number for number in _numbers(citation[1]) if number in self._given]
        self.cited += [number for number in dict.fromkeys(numbers) if number not in self.cited]
        space = citation[0][0] if citation[0][0] in " \t" else ""
        if numbers:
            return space + "".join(f"[{number}]" for number in numbers), rest
        return "", space + rest if rest.startswith("[") else rest  # the space before it goes to the next citation


def _numbers(listed: str) -> Iterator[int]:
    for part in re.split(r"\s*[,;]\s*", listed):
        first, _, last = re.sub(r"\s*[–-]\s*", "-", part).partition("-")
        yield from range(int(first), int(last.rpartition("-")[2] or first) + 1)
