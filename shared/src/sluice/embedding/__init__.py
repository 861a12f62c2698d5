"""Text to vectors: one port, an adapter a provider."""

from collections.abc import Sequence
from typing import Protocol

from sluice.settings import EmbeddingSettings

Vector = Sequence[float]


class Embedder(Protocol):
    """Vectors are of length 1, so that a dot product is a cosine similarity. Errors: TransientError, PermanentError."""

    @property
    def name(self) -> str:
        """Provider and model; a collection remembers it."""
        ...

    async def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        """One vector a text, in their order."""
        ...

    async def embed_query(self, text: str) -> Vector: ...


def create_embedder(settings: EmbeddingSettings) -> Embedder:
    """The embedder that the settings name; only that one's library is imported."""
    if settings.embedding_provider == "gemini":
        from sluice.embedding.gemini import GeminiEmbedder  # noqa: PLC0415

        return GeminiEmbedder(settings)
    if settings.embedding_provider == "azure":
        from sluice.embedding.azure_openai import AzureOpenAIEmbedder  # noqa: PLC0415

        return AzureOpenAIEmbedder(settings)
    from sluice.embedding.local import LocalEmbedder  # noqa: PLC0415

    return LocalEmbedder(threads=settings.embedding_threads)
