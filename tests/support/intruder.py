"""Whoever took over the EXTERNAL lane: `python -m tests.support.intruder`, as its system user, with all that it has.

On standard input as JSON: `pids` of the lane's processes, all `files` and `folders` of the state folder, `copy` of its
data, which it should never have got, `chroma` (the INTERNAL server's port), `streams` and `logs` of the INTERNAL lane,
`rows` (as in `Sealed`). On standard output what it came to.
"""

import base64
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sluice.access import Level
from sluice.sealing import DataKeys, read_wrappers
from tests.support.index import client

_HEADER, _NONCE, _KEY = 5, 12, 32


@dataclass(frozen=True)
class Sealed:
    """A row as it is stored, and where it stood: all that is no secret."""

    what: str
    sealed: str
    tenant: str
    row_id: str
    level: str = "INTERNAL"


def environments(pids: Iterable[int]) -> list[dict[str, str]]:
    """As the kernel shows them to processes of the same user."""
    return [
        dict(pair.split("=", 1) for pair in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in pair)
        for pid in pids
    ]


def keys_of(data_keys: Path, files: Sequence[Path], level: Level) -> list[bytes]:
    """What is to be had with a level's key-encryption keys: these, and each data key that they unwrap."""
    keys = DataKeys(read_wrappers({level: files}), data_keys)
    unwrapped = [keys.key(info.tenant, level, info.name) for info in keys.all() if info.level is level]
    return [*(file.read_bytes() for file in files), *unwrapped]


def opened(rows: Iterable[Sealed], keys: Sequence[bytes]) -> list[str]:
    """Which rows any of the keys opens, in the very place where they stood."""
    return [row.what for row in rows if any(_opens(row, key) for key in keys)]


def unwrapped(data_keys: Path, level: Level, keys: Sequence[bytes]) -> list[str]:
    """Which of the level's wrapped data keys any of these keys opens."""
    found: list[str] = []
    for file in sorted((data_keys / level.lower()).glob("*/*.json")):
        place = "\0".join(("data key", level, file.parent.name, file.stem)).encode()
        for wrapped in json.loads(file.read_bytes())["wrapped"].values():
            if any(_decrypts(key, base64.b64decode(wrapped), place) for key in keys):
                found.append(str(file.relative_to(data_keys)))
    return found


def stored_in_chroma(port: int) -> list[Sealed]:
    """All rows of a server."""
    listed = [collection.name for collection in client(port).list_collections()]
    rows: list[Sealed] = []
    for name in listed:
        page = client(port).get_collection(name, embedding_function=None).get(include=["documents"])
        for row_id, document in zip(page["ids"], page["documents"], strict=True):
            rows.append(Sealed(f"chroma {name} {row_id}", document or "", name.split(".")[0], row_id))
    return rows


def _opens(row: Sealed, key: bytes) -> bool:
    data = base64.b64decode(row.sealed)
    place = data[:_HEADER] + "\0".join((row.tenant, row.level, row.row_id)).encode()
    return _decrypts(key, data[_HEADER:], place)


def _decrypts(key: bytes, sealed: bytes, place: bytes) -> bool:
    try:
        AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], place)
    except (InvalidTag, ValueError):
        return False
    return True


def _reads(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except OSError:
        return False
    return True


def _allowed(url: str, streams: Sequence[str], logs: Sequence[str]) -> list[str]:
    """What Redis lets this user do that it must not."""
    commands: list[tuple[str, ...]] = [("CONFIG", "GET", "*"), ("KEYS", "*"), ("ACL", "LIST"), ("SCAN", "0")]
    commands += [("EVAL", "return 1", "0"), ("MONITOR",)]
    for stream in streams:
        commands += [("XRANGE", stream, "-", "+"), ("XREAD", "STREAMS", stream, "0"), ("DUMP", stream), ("DEL", stream)]
    for log in logs:
        commands += [("XRANGE", log, "-", "+"), ("DUMP", log), ("TYPE", log), ("DEL", log)]
    found: list[str] = []
    with redis.Redis.from_url(url) as connection:
        connection.ping()
        for command in commands:
            try:
                connection.execute_command(*command)
            except redis.exceptions.NoPermissionError:
                continue
            found.append(" ".join(command))
    return found


def main() -> None:
    given: dict[str, Any] = json.load(sys.stdin)
    had = environments(given["pids"])
    files = {Path(file) for each in had for file in each.get("SLUICE_EXTERNAL_KEY_FILE", "").split(",") if file}
    copy = Path(given["copy"])
    keys = keys_of(copy / "keys", sorted(files), Level.EXTERNAL)
    readable = [file for file in given["files"] if _reads(file)]
    keys += [Path(file).read_bytes() for file in readable if Path(file).stat().st_size == _KEY]
    rows = [Sealed(**row) for row in given["rows"]] + stored_in_chroma(given["chroma"])
    urls = sorted({each["SLUICE_REDIS_URL"] for each in had if "SLUICE_REDIS_URL" in each})
    report = {
        "user": os.getuid(),
        "keys": len(keys),
        "variables": sorted({name for each in had for name in each}),
        "rows": len(rows),
        "opened": opened(rows, keys),
        "unwrapped": unwrapped(copy / "keys", Level.INTERNAL, keys),
        "readable": readable,
        "writable": [folder for folder in given["folders"] if os.access(folder, os.W_OK | os.X_OK)],
        "redis_users": len(urls),
        "allowed": [done for url in urls for done in _allowed(url, given["streams"], given["logs"])],
    }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
