"""The embedding adapters: the local model itself, and the vendors' SDKs against a loopback server."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr, ValidationError

from sluice.embedding import Embedder, create_embedder
from sluice.embedding.local import LocalEmbedder
from sluice.errors import ConfigurationError, PermanentError, TransientError
from sluice.settings import EmbeddingSettings
from tests.providers import Providers, fails, provider_server

GEMINI, AZURE = "gemini-embedding-001", "text-embedding-3-small"


@pytest.fixture(scope="module")
def local() -> Embedder:
    return create_embedder(EmbeddingSettings())


@pytest.fixture
async def providers() -> AsyncIterator[Providers]:
    async with provider_server() as running:
        yield running


@pytest.fixture(params=["gemini", "azure"])
def vendor(request: pytest.FixtureRequest, providers: Providers) -> tuple[str, Embedder]:
    settings: dict[str, Any] = {
        "gemini": {"gemini_api_key": SecretStr("key"), "gemini_base_url": providers.base_url},
        "azure": {"azure_openai_api_key": SecretStr("key"), "azure_openai_endpoint": providers.base_url},
    }[request.param]
    embedder = create_embedder(EmbeddingSettings(embedding_provider=request.param, **settings))
    return {"gemini": GEMINI, "azure": AZURE}[request.param], embedder


async def test_the_local_model_knows_what_belongs_together(local: Embedder) -> None:
    texts = ["How long do refunds take?", "Money comes back after five days.", "Penguins live on ice."]
    refund, money, penguin = np.array(await local.embed_documents(texts))
    assert local.name == "local/all-MiniLM-L6-v2"
    assert np.linalg.norm(refund) == pytest.approx(1, abs=1e-5)
    assert refund @ money > refund @ penguin + 0.1


async def test_a_vector_does_not_depend_on_its_neighbours_in_the_batch(local: Embedder) -> None:
    """Idempotent ingestion needs the same text to have the same vector, alone or among others of other lengths."""
    text = "Refunds to debit cards take five working days."
    alone = np.array(await local.embed_query(text))
    among = np.array((await local.embed_documents(["x", text, "a long neighbour " * 60, *["y"] * 40]))[1])
    assert alone @ among == pytest.approx(1, abs=1e-6)


async def test_no_texts_are_no_vectors_and_empty_and_very_long_ones_are_embedded(local: Embedder) -> None:
    assert await local.embed_documents([]) == []
    vectors = np.array(await local.embed_documents(["", "word " * 5000]))
    assert np.isfinite(vectors).all()


def test_a_changed_model_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    monkeypatch.setattr("sluice.embedding.local._model_folder", lambda: tmp_path)
    with pytest.raises(ConfigurationError, match=r"tokenizer\.json"):
        LocalEmbedder(threads=1)


async def test_a_vendor_gives_a_vector_a_text_in_their_order(
    vendor: tuple[str, Embedder], providers: Providers
) -> None:
    model, embedder = vendor
    texts = [f"text number {n}" for n in range(130)]
    vectors = np.array(await embedder.embed_documents(texts))
    assert len(vectors) == len(texts)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert np.allclose(vectors[7], (await embedder.embed_documents([texts[7]]))[0], atol=1e-5)
    assert model in embedder.name
    assert {call.kind for call in providers.calls_of(model)} == {"embeddings"}


@pytest.mark.parametrize(("status", "error"), [(429, TransientError), (503, TransientError), (400, PermanentError)])
async def test_a_vendors_errors_say_whether_to_try_again(
    vendor: tuple[str, Embedder], providers: Providers, status: int, error: type[Exception]
) -> None:
    model, embedder = vendor
    providers.behave(model, fails(status))
    with pytest.raises(error, match=model):
        await embedder.embed_query("text")
    assert len(providers.calls_of(model)) == 1


@pytest.mark.parametrize("provider", ["gemini", "azure"])
def test_a_vendor_without_its_key_does_not_start(provider: Any) -> None:
    with pytest.raises(ValidationError, match=f"SLUICE_EMBEDDING_PROVIDER={provider} needs"):
        EmbeddingSettings(embedding_provider=provider)
