"""The ways behind the API: what a taken-over neighbour does that can write to Redis, and reads there."""

import json
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import redis
from redis import exceptions

from sluice.access import Level
from sluice.cli.selftest.askers import Asker, Reply, ask
from sluice.cli.selftest.forging import Body, forgeries, renamed
from sluice.cli.selftest.record import CannotTryError, Record
from sluice.cli.selftest.stage import API, PREFIX, Stage
from sluice.workstream import Keys

STREAMS = (
    "answers.completed.v1",
    "audit.refusals.v1",
    "audit.retrievals.v1",
    "documents.deleted.v1.external",
    "documents.deleted.v1.internal",
    "documents.offered.v1",
    "documents.progress.v1",
    "documents.submitted.bulk.v1.external",
    "documents.submitted.bulk.v1.internal",
    "documents.submitted.v1.external",
    "documents.submitted.v1.internal",
    "fixes.indexed.v1",
    "fixes.taught.v1.external",
    "fixes.taught.v1.internal",
    "fixes.withdrawn.v1.external",
    "fixes.withdrawn.v1.internal",
    "indexes.damaged.v1",
    "indexes.progress.v1",
    "indexes.rebuilt.v1.external",
    "indexes.rebuilt.v1.internal",
    "indexes.verified.v1.external",
    "indexes.verified.v1.internal",
    "logs.searched.v1",
    "questions.asked.v1.external",
    "questions.asked.v1.internal",
    "questions.followed-up.v1.external",
    "questions.followed-up.v1.internal",
    "questions.grounded.v1.external",
    "questions.grounded.v1.internal",
)
_CAUGHT = ("questions.asked.v1.external", "questions.grounded.v1.external", "answers.completed.v1")
_JSON = {"Accept": "application/json"}
_PAUSE_SECONDS = 0.1
_READ_ROWS = 1000
Client = Any
"""redis.Redis, whose own annotations are partly unknown to a strict checker."""


def forge(stage: Stage, record: Record) -> None:
    """On every stream: what an EXTERNAL reader's own question left there, changed in every way worth a try.

    Then the reader looks at all that could have come of it.
    """
    client, outsider = _client(stage), stage.named("EXTERNAL reader")
    wanted = stage.of(stage.host.tenant, "document", Level.INTERNAL)
    stolen, request_id = _caught(client, outsider, stage)
    written: dict[str, list[bytes]] = {}
    made = list(forgeries(stolen, tenant=stage.host.tenant, request_id=request_id, question=wanted.question))
    for stream in STREAMS:
        for what, body in made:
            message = body if what == "as it was" else renamed(body)
            entry = client.xadd(stream, {"__data__": json.dumps(message), "id": message["message_id"]})
            written.setdefault(stream, []).append(entry)
            record.found(outsider, f"{stream}: {what}", Reply(0, b"", ""))
    _until_taken(stage, client, written)
    for path in (f"{API}/chat/requests/{request_id}/events", f"{API}/chat/conversations"):
        record.send(outsider, "GET", path, template=path.replace(request_id, "{request_id}"))
    _discard(client, written)


def read_all(stage: Stage, record: Record) -> None:
    """Everything that Redis holds, by nobody's leave."""
    client, nobody = _client(stage), stage.named("nobody")
    for number, value in enumerate(_values(client)):
        record.found(nobody, "SCAN", Reply(0, value, ""))
        if number > 200_000:
            raise CannotTryError("Redis holds more than is looked through")


def _client(stage: Stage) -> Client:
    if stage.redis_url is None:
        raise CannotTryError("no --redis-url was given")
    client: Client = redis.Redis.from_url(stage.redis_url, socket_timeout=60)  # pyright: ignore[reportUnknownMemberType]
    try:
        client.ping()
    except exceptions.RedisError as error:
        raise CannotTryError(f"Redis cannot be asked: {type(error).__name__}") from error
    return client


def _caught(client: Client, asker: Asker, stage: Stage) -> tuple[Body, str]:
    """A message of the asker's own question, read off its stream before a worker has taken it."""
    caught: list[Body] = []
    began, ended = threading.Event(), threading.Event()

    def listen() -> None:
        places: dict[Any, Any] = {stream: _last(client, stream) for stream in _CAUGHT}
        began.set()
        while not ended.is_set() and not caught:
            heard: Any = client.xread(places, block=500) or ()
            for stream, entries in heard:
                places[stream.decode()] = entries[-1][0]
                caught.extend(body for _, fields in entries if (body := _body(fields, asker.tenant)))

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    began.wait(10)
    question = {"question": stage.of(asker.tenant, "document", Level.EXTERNAL).question}
    reply = ask(asker, "POST", f"{API}/chat", json=question, headers=_JSON)
    listener.join(5)
    ended.set()
    if not caught or reply.status != 200:
        raise CannotTryError("no message of an EXTERNAL reader's question could be read in Redis")
    return caught[0], json.loads(reply.body)["answer_id"]


def _last(client: Client, stream: str) -> Any:
    newest = client.xrevrange(stream, count=1)
    return newest[0][0] if newest else "0-0"


def _body(fields: dict[bytes, bytes], tenant: str) -> Body | None:
    try:
        body: Body = json.loads(fields[b"__data__"])
    except (ValueError, KeyError):
        return None
    return body if body.get("tenant") == tenant else None


def _until_taken(stage: Stage, client: Client, written: dict[str, list[bytes]]) -> None:
    end = time.monotonic() + stage.wait_seconds
    while left := [s for s, entries in written.items() if any(client.xrange(s, e, e) for e in entries)]:
        if time.monotonic() > end:
            raise CannotTryError(f"nobody took what was written on {', '.join(left)}")
        time.sleep(_PAUSE_SECONDS)


def _discard(client: Client, streams: Iterable[str]) -> None:
    """The dead letters that the forgeries became, and what was asked before."""
    for stream in streams:
        keys = Keys(stream)
        for letter, fields in client.xrange(keys.dead):
            if PREFIX.encode() in fields.get(b"__data__", b""):
                client.xdel(keys.dead, letter)
                client.hdel(keys.places, fields.get(b"id", b""))


def _values(client: Client) -> Iterator[bytes]:
    for key in client.scan_iter(count=_READ_ROWS):
        yield key
        match client.type(key):
            case b"stream":
                for _, fields in client.xrange(key):
                    yield b"\n".join(part for pair in fields.items() for part in pair)
            case b"hash":
                yield b"\n".join(part for pair in client.hgetall(key).items() for part in pair)
            case b"zset":
                yield b"\n".join(client.zrange(key, 0, -1))
            case b"set":
                yield b"\n".join(client.smembers(key))
            case b"list":
                yield b"\n".join(client.lrange(key, 0, -1))
            case b"string":
                yield client.get(key) or b""
            case _:
                continue
