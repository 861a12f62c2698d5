"""Google Gemini through google-genai."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import Any, cast

import httpx2
from google import genai
from google.genai import errors, types

from llm_router.adapters.http import closing_responses, retry_after, status_failure, transport_failure
from llm_router.ports import Failure, Final, Piece, Prompt, Text, TierUnavailableError
from sluice.errors import PermanentError
from sluice.messages import Usage

_VENDOR = "Gemini"
_REFUSALS = frozenset(
    {
        types.FinishReason.SAFETY,
        types.FinishReason.RECITATION,
        types.FinishReason.BLOCKLIST,
        types.FinishReason.PROHIBITED_CONTENT,
        types.FinishReason.SPII,
        types.FinishReason.MODEL_ARMOR,
    }
)


def create_gemini_client(api_key: str, http: httpx2.AsyncClient, base_url: str | None = None) -> genai.Client:
    """A client that never retries (the chain does) and, given `http`, never uses aiohttp."""
    options = types.HttpOptions(
        base_url=base_url,
        api_version="v1beta",
        retry_options=types.HttpRetryOptions(attempts=1),
        httpx_async_client=http,
    )
    return genai.Client(api_key=api_key, vertexai=False, http_options=options)


@dataclass(frozen=True)
class Gemini:
    """One Gemini model; `thinking_tokens` bounds its thinking (0: none, None: as the model likes)."""

    client: genai.Client
    name: str
    thinking_tokens: int | None = None

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        try:
            async with closing_responses(), aclosing(self._pieces(prompt)) as pieces:
                async for piece in pieces:
                    yield piece
        except httpx2.TransportError as error:
            raise transport_failure(error, _VENDOR) from error
        except errors.APIError as error:
            raise _translated(error) from error
        except (errors.UnknownApiResponseError, TypeError, ValueError) as error:
            # An error without a code inside the stream comes as a TypeError, one of the wrong form as a ValueError.
            raise TierUnavailableError(Failure.BAD_RESPONSE, "Gemini answered what its client cannot read") from error

    async def _pieces(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        usage, final = Usage(), None
        chunks = await self.client.aio.models.generate_content_stream(
            model=self.name, contents=cast(Any, _contents(prompt)), config=self._config(prompt)
        )
        async for chunk in chunks:
            usage = _usage(chunk.usage_metadata) or usage  # cumulative: the last one counts
            if chunk.prompt_feedback and chunk.prompt_feedback.block_reason:
                final = Final("refused")
            for candidate in (chunk.candidates or [])[:1]:
                if text := _text(candidate):
                    yield Text(text)
                if candidate.finish_reason:
                    final = _final(candidate.finish_reason)
        if final is not None:
            yield Final(final.finish_reason, usage)

    def _config(self, prompt: Prompt) -> types.GenerateContentConfig:
        thinking = None
        if self.thinking_tokens is not None:
            thinking = types.ThinkingConfig(thinking_budget=self.thinking_tokens)
        return types.GenerateContentConfig(
            system_instruction=prompt.system,
            max_output_tokens=prompt.max_output_tokens,
            thinking_config=thinking,
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
            automatic_continuation=False,
        )


def _contents(prompt: Prompt) -> list[types.Content]:
    turns = [(("user", turn.question), ("model", turn.answer)) for turn in prompt.turns]
    spoken = (*chain.from_iterable(turns), ("user", prompt.user))
    return [types.Content(role=role, parts=[types.Part(text=text)]) for role, text in spoken]


def _text(candidate: types.Candidate) -> str:
    parts = (candidate.content.parts if candidate.content else None) or []
    return "".join(part.text for part in parts if part.text and not part.thought)


def _final(reason: types.FinishReason) -> Final:
    if reason is types.FinishReason.STOP:
        return Final("stop")
    if reason is types.FinishReason.MAX_TOKENS:
        return Final("length")
    if reason in _REFUSALS:
        return Final("refused")
    raise TierUnavailableError(Failure.BAD_RESPONSE, f"Gemini ended its answer with {reason.value}")


def _usage(usage: types.GenerateContentResponseUsageMetadata | None) -> Usage | None:
    if usage is None:
        return None
    written = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
    return Usage(input_tokens=usage.prompt_token_count or 0, output_tokens=written)


def _translated(error: errors.APIError) -> TierUnavailableError | PermanentError:
    untyped = cast(Any, error)
    details = str(untyped.details)
    # Gemini answers 400, not 401 or 403, to a wrong key and to a project that may not use it.
    if error.code == 400 and ("API_KEY_INVALID" in details or error.status == "FAILED_PRECONDITION"):
        return TierUnavailableError(Failure.AUTHENTICATION, "Gemini does not accept this key")
    if not isinstance(untyped.code, int):
        return TierUnavailableError(Failure.BAD_RESPONSE, "Gemini sent an error without a code")
    wait = _retry_after(getattr(untyped.response, "headers", None), details)
    failure = status_failure(error.code, _VENDOR, retry_after=wait)
    return failure or PermanentError(f"Gemini does not accept the request: {error.code} {error.status or ''}".strip())


def _retry_after(headers: Any, details: str) -> timedelta | None:
    """The header, or the RetryInfo among the details."""
    if isinstance(headers, httpx2.Headers) and (wait := retry_after(headers)):
        return wait
    found = re.search(r"'retryDelay': '(\d+(?:\.\d+)?)s'", details)
    return timedelta(seconds=float(found[1])) if found else None
