"""One file on its way: on the stream, or over HTTP where it is too large for that. What is away is waited for."""

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import redis
from redis import exceptions

from sluice.access import Level
from sluice.cli.gateway import Gateway, RefusedError
from sluice.errors import ConfigurationError, PermanentError, TransientError
from sluice.messages import DocumentOffered
from sluice.offers import Offer, sign

T = TypeVar("T")
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 15.0
_TRY_AGAIN = (423, 429, 502, 503, 504)


@dataclass(frozen=True)
class File:
    """A file's content, with what it is offered under."""

    shown: str
    key: str
    content: bytes


class Patience:
    """Tries until it works; says once what it waits for, and when that has come."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def until_done(self, work: Callable[[], T]) -> T:
        """Raises PermanentError, or ConfigurationError where the next file would fare no better."""
        pause, told = _FIRST_PAUSE, ""
        while True:
            try:
                done = _translated(work)
            except TransientError as error:
                if error.detail != told:
                    told = error.detail
                    self._say(f"{told}; waiting")
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                if told:
                    self._say("going on")
                return done


def _translated(work: Callable[[], T]) -> T:
    try:
        return work()
    except RefusedError as error:
        if error.code in _TRY_AGAIN:
            raise TransientError(error.detail) from error
        raise
    except (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError) as error:
        raise ConfigurationError("Redis does not let this user write to the stream: look at --redis-url") from error
    except exceptions.OutOfMemoryError as error:
        raise TransientError("Redis is out of memory") from error
    except (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.ReadOnlyError, OSError) as error:
        raise TransientError("Redis does not answer") from error
    except exceptions.RedisError as error:
        raise PermanentError(f"Redis refuses the offer: {type(error).__name__}") from error


class Sender:
    def __init__(self, api_key: str, level: Level, api: Gateway, redis_url: str, largest_offer: int) -> None:
        self._api_key = api_key
        self._level = level
        self._api = api
        self._redis: redis.Redis = redis.Redis.from_url(redis_url, socket_timeout=10)  # pyright: ignore[reportUnknownMemberType]
        self._largest = largest_offer

    def send(self, file: File) -> None:
        """Raises what redis-py and the gateway raise."""
        if len(file.content) > self._largest:
            fields = {"access_level": self._level.value}
            self._api.upload("/knowledge/documents", [(file.shown, file.content)], fields, idempotency_key=file.key)
        else:
            offered = sign(self._api_key, self._body(file))
            self._redis.xadd(DocumentOffered.stream, {"__data__": offered.model_dump_json()})

    def _body(self, file: File) -> str:
        encoded = base64.b64encode(file.content).decode()
        offer = Offer(name=file.shown, access_level=self._level, content_base64=encoded, idempotency_key=file.key)
        return offer.to_body()

    def close(self) -> None:
        self._redis.close()
