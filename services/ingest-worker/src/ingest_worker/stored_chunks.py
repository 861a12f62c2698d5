"""Chunks with vectors in the blob store: the index can be rebuilt from them, and a retry goes on where it stopped.

A part is a blob of JSON lines: `{"model"}`, then a chunk a line, its vector as base64 of little-endian float32.
"""

import base64
import json
from array import array
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sluice.blobs import BlobPath
from sluice.embedding import Vector
from sluice.index import IndexedChunk
from sluice.messages import DocumentReference, Fix

COMPLETE = "complete"
CHUNKS = "chunks"
TAUGHT, WITHDRAWN = "taught", "withdrawn"
CHUNKS_PATTERN, FIXES_PATTERN = f"documents/*/*/{CHUNKS}", f"fixes/*/{TAUGHT}"


def original_path(document: DocumentReference) -> BlobPath:
    return ("documents", document.document_id, str(document.generation), "original")


def name_path(document: DocumentReference) -> BlobPath:
    """Where the name of a fetched original stands."""
    return ("documents", document.document_id, str(document.generation), "name")


def part_path(document_id: str, generation: int, number: int) -> BlobPath:
    return ("documents", document_id, str(generation), CHUNKS, f"{number:05}")


def complete_path(document_id: str, generation: int) -> BlobPath:
    """Stands from when all chunks are kept: an attempt that was given up before has none."""
    return ("documents", document_id, str(generation), COMPLETE)


def encode_complete(parts: int) -> bytes:
    return json.dumps({"parts": parts}).encode()


def decode_complete(data: bytes) -> int:
    """How many parts there are."""
    return json.loads(data)["parts"]


def encode_part(model: str, chunks: Sequence[IndexedChunk]) -> bytes:
    lines = [{"model": model}, *({**asdict(chunk), "vector": _pack(chunk.vector)} for chunk in chunks)]
    return "\n".join(json.dumps(line, ensure_ascii=False) for line in lines).encode()


def decode_part(data: bytes) -> tuple[str, list[IndexedChunk]]:
    """The embedding model's name, and the chunks."""
    head, *lines = (json.loads(line) for line in data.split(b"\n"))
    return head["model"], [_chunk(line) for line in lines]


def encode_fix(model: str, fix: Fix, vector: Vector) -> bytes:
    return json.dumps({"model": model, "fix": fix.model_dump(mode="json"), "vector": _pack(vector)}).encode()


def decode_fix(data: bytes) -> tuple[str, Fix, Vector]:
    """The embedding model's name, the fix, and its question's vector."""
    kept = json.loads(data)
    return kept["model"], Fix.model_validate(kept["fix"]), _unpack(kept["vector"])


def _chunk(line: dict[str, Any]) -> IndexedChunk:
    vector = _unpack(line.pop("vector"))
    return IndexedChunk(**line, vector=vector)


def _pack(vector: Vector) -> str:
    return base64.b64encode(array("f", vector).tobytes()).decode()


def _unpack(packed: str) -> Vector:
    return array("f", base64.b64decode(packed)).tolist()
