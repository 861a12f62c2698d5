"""What the loopback models say of themselves: a sentence of the passages with its citation."""

import hashlib
import json
import math
import re
from collections.abc import Sequence

from tests.providers.behaviour import Behaviour

_PASSAGE = re.compile(r"<(passage-\w+) (\{.*?\})>\n(.*?)\n</\1>", re.DOTALL)
_CONVERSATION = re.compile(r"<(conversation-\w+)>\n(.*)\n</\1>", re.DOTALL)
UNKNOWN = "I don't know: the passages do not say."


def pieces_of(behaviour: Behaviour, prompt: str) -> Sequence[str]:
    if behaviour.pieces is not None:
        return behaviour.pieces
    text = prompt if behaviour.echo else answer(prompt)
    return re.findall(r"\S+\s*", text)


def answer(prompt: str) -> str:
    """The passages' sentence nearest to the question; of a conversation, its last question with the one before."""
    if conversation := _CONVERSATION.search(prompt):
        asked = re.findall(r"^User: (.*)$", conversation[2], re.MULTILINE)
        return " ".join(reversed(asked[-2:]))
    wanted = _words(prompt.rpartition("Question:")[2])
    sentences = [
        (sentence.strip(), json.loads(label)["n"])
        for _, label, text in _PASSAGE.findall(prompt)
        for sentence in re.split(r"(?<=[.!?])\s+|\n+", text)
        if sentence.strip()
    ]
    if not sentences:
        return UNKNOWN
    sentence, number = max(sentences, key=lambda pair: len(wanted & _words(pair[0])))
    return f"The documents say: {sentence} [{number}]"


def vector(text: str, dimensions: int) -> list[float]:
    """A unit vector in which texts with the same words are near to each other."""
    values = [0.0] * dimensions
    for word in _words(text) or {""}:
        place = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
        values[place % dimensions] += 1.0
    length = math.sqrt(sum(value * value for value in values))
    return [value / length for value in values]


def _words(text: str) -> set[str]:
    return {word.lower().removesuffix("s") for word in re.findall(r"\w+", text)}
