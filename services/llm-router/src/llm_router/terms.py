"""Words as quotations and follow-ups are compared by: lower case, without endings and filler words."""

import re
from functools import lru_cache

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_FILLER_WORDS = """
    a about after all also am an and any are as at be because been before but by can come could did do does doing done
    else even for from get gets getting give given go going got had happen happens has have having he hello her hi his
    how i if in into is it its just kindly know let like long many may me might mine much must my need now of off oh ok
    on one only or our out please she should since so some tell than thank thanks that the their them then there these
    they this those to up us very want was we were what whats when where which who whom whose why will with would you
    your yours
"""
_FILLERS = frozenset(_FILLER_WORDS.split())


def words(text: str) -> list[str]:
    """Every word of the text, in lower case."""
    return [word.lower() for word in _WORD.findall(text)]


def terms(text: str) -> list[str]:
    """The words that carry meaning, each without its ending, in their order."""
    return [stem(word) for word in words(text) if word not in _FILLERS]


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """The word without the endings of plurals and verbs: `taking`, `takes` and `take` are the same."""
    word = re.sub(r"['’]s?$", "", word)
    if len(word) <= 3 or not word.isalpha():
        return word
    word = _singular(word)
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and re.search("[aeiouy]", word[: -len(ending)]):
            word = re.sub(r"([bdgmnprt])\1$", r"\1", word[: -len(ending)])
            break
    return re.sub("y$", "i", word.removesuffix("e")) if len(word) > 3 else word


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search("(s|x|z|ch|sh)es$", word):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word
