"""Embeddings by Azure OpenAI."""

from collections.abc import Sequence

import openai

from sluice.embedding import Vector
from sluice.errors import PermanentError, TransientError
from sluice.settings import EmbeddingSettings

_API_VERSION = "2024-10-21"
_BATCH = 256


class AzureOpenAIEmbedder:
    """The deployment text-embedding-3-small, by default (1,536 dimensions)."""

    def __init__(self, settings: EmbeddingSettings) -> None:
        assert settings.azure_openai_api_key is not None
        assert settings.azure_openai_endpoint is not None
        self._model = settings.embedding_model or "text-embedding-3-small"
        self.name = f"azure/{self._model}"
        self._client = openai.AsyncAzureOpenAI(
            azure_endpoint=settings.azure_openai_endpoint,
            api_key=settings.azure_openai_api_key.get_secret_value(),
            api_version=_API_VERSION,
            max_retries=0,
            timeout=30,
        )

    async def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        batches = [list(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
        return [vector for batch in batches for vector in await self._embed(batch)]

    async def embed_query(self, text: str) -> Vector:
        return (await self._embed([text]))[0]

    async def _embed(self, texts: list[str]) -> list[Vector]:
        try:
            response = await self._client.embeddings.create(model=self._model, input=texts)
        except (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError) as error:
            raise TransientError(f"the embedding model {self._model} did not answer") from error
        except openai.APIStatusError as error:
            raise PermanentError(
                f"the embedding model {self._model} refused the request ({error.status_code})"
            ) from error
        return [entry.embedding for entry in response.data]
