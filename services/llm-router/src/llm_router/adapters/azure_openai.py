"""Azure OpenAI through openai."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

import httpx2
import openai
from openai.types.chat import ChatCompletionMessageParam
from openai.types.completion_usage import CompletionUsage

from llm_router.adapters.http import retry_after, status_failure, transport_failure
from llm_router.ports import Failure, Final, Piece, Prompt, Text, TierUnavailableError
from sluice.errors import PermanentError
from sluice.messages import Usage

_VENDOR = "Azure OpenAI"
_FINALS = {"stop": Final("stop"), "length": Final("length"), "content_filter": Final("refused")}


def create_azure_client(
    api_key: str, endpoint: str, api_version: str, http: httpx2.AsyncClient
) -> openai.AsyncAzureOpenAI:
    """A client that never retries: the chain does."""
    return openai.AsyncAzureOpenAI(
        api_key=api_key, azure_endpoint=endpoint, api_version=api_version, max_retries=0, http_client=http
    )


@dataclass(frozen=True)
class AzureOpenAI:
    """One deployment of a model."""

    client: openai.AsyncAzureOpenAI
    deployment: str

    @property
    def name(self) -> str:
        return f"azure/{self.deployment}"

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        try:
            async with aclosing(self._pieces(prompt)) as pieces:
                async for piece in pieces:
                    yield piece
        except openai.APIError as error:
            if (answer := _refusal(error)) is None:
                raise _translated(error) from error
            yield answer
        except httpx2.TransportError as error:
            raise transport_failure(error, _VENDOR) from error
        except ValueError as error:
            raise TierUnavailableError(Failure.BAD_RESPONSE, "Azure OpenAI answered no JSON") from error

    async def _pieces(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        usage, final = Usage(), None
        chunks = await self.client.chat.completions.create(
            model=self.deployment,
            messages=_messages(prompt),
            max_tokens=prompt.max_output_tokens,
            stream=True,
            stream_options={"include_usage": True},
        )
        async with chunks:
            async for chunk in chunks:
                usage = _usage(chunk.usage) or usage
                for choice in chunk.choices[:1]:  # none in the first chunk and in the one with the usage
                    if choice.delta.content:
                        yield Text(choice.delta.content)
                    if choice.finish_reason:
                        final = _final(choice.finish_reason)
        if final is not None:
            yield Final(final.finish_reason, usage)


def _messages(prompt: Prompt) -> list[ChatCompletionMessageParam]:
    turns = [(("user", turn.question), ("assistant", turn.answer)) for turn in prompt.turns]
    spoken = (("system", prompt.system), *chain.from_iterable(turns), ("user", prompt.user))
    return cast(list[ChatCompletionMessageParam], [{"role": role, "content": text} for role, text in spoken])


def _final(reason: str) -> Final:
    if reason not in _FINALS:
        raise TierUnavailableError(Failure.BAD_RESPONSE, f"Azure OpenAI ended its answer with {reason}")
    return _FINALS[reason]


def _usage(usage: CompletionUsage | None) -> Usage | None:
    return Usage(input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens) if usage else None


def _refusal(error: openai.APIError) -> Final | None:
    return Final("refused") if error.code == "content_filter" else None


def _translated(error: openai.APIError) -> TierUnavailableError | PermanentError:
    if isinstance(error, openai.APIConnectionError):  # timeouts too; the cause says which
        cause: Any = error.__cause__
        if isinstance(cause, httpx2.TransportError):
            return transport_failure(cause, _VENDOR)
        return TierUnavailableError(Failure.CONNECTION, "the connection to Azure OpenAI failed")
    if not isinstance(error, openai.APIStatusError):  # an error inside the stream has no status
        return TierUnavailableError(Failure.SERVER_ERROR, "Azure OpenAI broke off with an error")
    wait = retry_after(error.response.headers)
    failure = status_failure(error.status_code, _VENDOR, retry_after=wait)
    return failure or PermanentError(f"Azure OpenAI does not accept the request: {error.status_code}")
