"""Wedging Chroma as a kill does, and what stands in it."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chromadb
from chromadb.config import Settings

Snapshot = dict[str, tuple[int, int]]
_LARGE = 2**24


def client(port: int) -> Any:
    return chromadb.HttpClient("127.0.0.1", port, settings=Settings(anonymized_telemetry=False))


def rows(port: int, prefix: str) -> dict[str, list[tuple[float, ...]]]:
    """The vectors by id over all copies of a collection: a row that stands twice has two."""
    found: dict[str, list[tuple[float, ...]]] = {}
    for name in copies(port, prefix):
        page = client(port).get_collection(name, embedding_function=None).get(include=["embeddings"])
        for row_id, vector in zip(page["ids"], page["embeddings"], strict=True):
            found.setdefault(row_id, []).append(tuple(float(x) for x in vector))
    return found


def states(port: int, prefix: str) -> dict[str, str]:
    """What each copy says of itself."""
    listed = client(port).list_collections()
    of_prefix = [c for c in listed if c.name == prefix or c.name.startswith(f"{prefix}.")]
    return {c.name: (c.metadata or {}).get("state", "complete") for c in of_prefix}


def copies(port: int, prefix: str) -> list[str]:
    names = [collection.name for collection in client(port).list_collections()]
    return sorted(name for name in names if name == prefix or name.startswith(f"{prefix}."))


def make_collection(port: int, name: str, model: str, *, rows: int = 20) -> None:
    """As it was made before copies had numbers and states; its vectors go to disk every 20 rows, not every 1,000."""
    client(port).create_collection(
        name,
        metadata={"embedding_model": model},
        configuration={"hnsw": {"space": "cosine", "batch_size": rows // 2, "sync_threshold": rows}},
        embedding_function=None,
    )


def vector_files(folder: Path) -> dict[Path, bytes]:
    """But for what Chroma wrote of lengths that it never had: gigabytes."""
    return {file: file.read_bytes() for file in folder.glob("*/*") if file.is_file() and file.stat().st_size < _LARGE}


def tear(before: dict[Path, bytes]) -> None:
    """Leaves what was written since as a kill in the middle of writing does, which goes from the header to the links:
    the header is new, the vectors are cut off, and the rest is as it was `before`."""
    same = {
        file.parent for file, content in before.items() if file.name.endswith("0.bin") and file.read_bytes() == content
    }
    for file, content in before.items():
        if file.parent in same:
            continue
        if file.name == "data_level0.bin":
            with file.open("r+b") as stream:
                stream.truncate(file.stat().st_size * 9 // 10)
        elif file.name != "header.bin":
            file.write_bytes(content)


def when_vectors_are_written(
    folder: Path, strike: Callable[[], None], *, seconds: float, over: Callable[[], bool] = lambda: False
) -> bool:
    """Strikes as soon as a vector file changes: a kill then often leaves it half-written.

    False if none did in that time, or before the writing was `over`.
    """
    before, end = _snapshot(folder), time.monotonic() + seconds
    while time.monotonic() < end and not over():
        if _snapshot(folder) != before:
            strike()
            return True
    return False


def _snapshot(folder: Path) -> Snapshot:
    found: Snapshot = {}
    for part in os.scandir(folder) if folder.is_dir() else ():
        if part.is_dir():
            for file in os.scandir(part.path):
                try:
                    status = file.stat()
                except FileNotFoundError:
                    continue
                found[file.path] = (status.st_mtime_ns, status.st_size)
    return found
