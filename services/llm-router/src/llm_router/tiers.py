"""The tiers: a language model with its prompt and limits, and the extractive answerer that needs none."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from llm_router.extractive import quote
from llm_router.ports import Final, Inquiry, Limits, Model, Piece, Text
from llm_router.prompt import grounded_prompt

_GROUP_OF_WORDS = 4
_AMPLE = Limits(first_token=10, between_tokens=10, total=20)


@dataclass(frozen=True)
class ModelTier:
    """A language model that answers from numbered passages."""

    model: Model
    limits: Limits
    max_output_tokens: int

    @property
    def name(self) -> str:
        return self.model.name

    def answer(self, inquiry: Inquiry) -> AsyncGenerator[Piece, None]:
        return self.model.stream(grounded_prompt(inquiry, self.max_output_tokens))


@dataclass(frozen=True)
class ExtractiveTier:
    """The last tier: quotes the passages, works without any provider, and never fails."""

    name: str = "extractive"
    limits: Limits = _AMPLE

    async def answer(self, inquiry: Inquiry) -> AsyncGenerator[Piece, None]:
        words = quote(inquiry).split(" ")
        for start in range(0, len(words), _GROUP_OF_WORDS):
            group = " ".join(words[start : start + _GROUP_OF_WORDS])
            yield Text(group if start == 0 else f" {group}")
        yield Final("stop")
