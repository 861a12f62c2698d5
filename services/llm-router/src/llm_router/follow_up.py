"""Makes a follow-up question stand alone: by a model where there is one in time, else by rule."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from llm_router.follow_up_rules import stand_alone
from llm_router.ports import Model, Text
from llm_router.prompt import follow_up_prompt
from sluice.errors import PermanentError, TransientError
from sluice.messages import Turn

logger = logging.getLogger(__name__)
_LONGEST = 500


@dataclass(frozen=True)
class FollowUp:
    """Asks the model for at most `seconds`; whatever goes wrong with it, the rule answers."""

    model: Model | None
    seconds: float

    async def __call__(self, question: str, history: Sequence[Turn]) -> str:
        if not history:
            return question
        return await self._by_model(question, history) or stand_alone(question, history)

    async def _by_model(self, question: str, history: Sequence[Turn]) -> str | None:
        """One line, or None where the model gave none in time."""
        if self.model is None:
            return None
        pieces: list[str] = []
        whole = False
        try:
            async with (
                asyncio.timeout(self.seconds),
                aclosing(self.model.stream(follow_up_prompt(question, history))) as stream,
            ):
                async for piece in stream:
                    if isinstance(piece, Text):
                        pieces.append(piece.text)
                    else:
                        whole = piece.finish_reason == "stop"
        except (TransientError, PermanentError, TimeoutError) as error:
            logger.warning("follow-up.by-rule", extra={"tier": self.model.name, "error": type(error).__name__})
            return None
        text = "".join(pieces).strip().strip('"“”').strip()
        return text if whole and 0 < len(text) <= _LONGEST and "\n" not in text else None
