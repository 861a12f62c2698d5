"""Embeddings by Google Gemini (`:batchEmbedContents`)."""

from collections.abc import Sequence

import httpx2
import numpy as np
from google import genai
from google.genai import errors, types

from sluice.embedding import Vector
from sluice.errors import PermanentError, TransientError
from sluice.settings import EmbeddingSettings

_DIMENSIONS = 768
_BATCH = 100


class GeminiEmbedder:
    """gemini-embedding-001 at 768 dimensions; below 3,072 the API does not scale vectors to length 1: done here."""

    def __init__(self, settings: EmbeddingSettings) -> None:
        assert settings.gemini_api_key is not None
        self._model = settings.embedding_model or "gemini-embedding-001"
        self.name = f"gemini/{self._model}/{_DIMENSIONS}"
        self._client = genai.Client(
            api_key=settings.gemini_api_key.get_secret_value(),
            http_options=types.HttpOptions(
                base_url=settings.gemini_base_url,
                api_version="v1beta",
                timeout=30_000,
                retry_options=types.HttpRetryOptions(attempts=1),
                httpx_async_client=httpx2.AsyncClient(timeout=30),
            ),
        )

    async def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        batches = [texts[start : start + _BATCH] for start in range(0, len(texts), _BATCH)]
        return [vector for batch in batches for vector in await self._embed(batch, "RETRIEVAL_DOCUMENT")]

    async def embed_query(self, text: str) -> Vector:
        return (await self._embed([text], "RETRIEVAL_QUERY"))[0]

    async def _embed(self, texts: Sequence[str], task: str) -> list[Vector]:
        config = types.EmbedContentConfig(task_type=task, output_dimensionality=_DIMENSIONS)
        try:
            response = await self._client.aio.models.embed_content(
                model=self._model, contents=list[types.ContentUnion](texts), config=config
            )
        except (errors.ServerError, httpx2.TransportError) as error:
            raise TransientError(f"the embedding model {self._model} did not answer") from error
        except errors.ClientError as error:
            if error.code == 429:
                raise TransientError(f"the embedding model {self._model} is over its limit") from error
            raise PermanentError(f"the embedding model {self._model} refused the request ({error.code})") from error
        vectors = [embedding.values or [] for embedding in response.embeddings or []]
        if len(vectors) != len(texts):
            raise TransientError(
                f"the embedding model {self._model} gave {len(vectors)} vectors for {len(texts)} texts"
            )
        return [_unit(vector) for vector in vectors]


def _unit(vector: Sequence[float]) -> Vector:
    array = np.asarray(vector, dtype=np.float32)
    return (array / np.linalg.norm(array)).tolist()
