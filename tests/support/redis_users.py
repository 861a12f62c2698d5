"""A Redis or Valkey whose users are those of `sluice.acl`; each user's password is their name."""

import shutil
from hashlib import sha256
from pathlib import Path

import redis
import redis.asyncio

from sluice.acl import OPERATOR_USER, acl, users
from sluice.connection import RedisClient
from tests.support.servers import RedisServer, redis_server, valkey_server


class GuardedRedis(RedisServer):
    def url_of(self, user: str) -> str:
        return f"redis://{user}:{user}@127.0.0.1:{self.port}/0"

    @property
    def url(self) -> str:
        return self.url_of(OPERATOR_USER)

    def as_user(self, user: str) -> RedisClient:
        return redis.asyncio.Redis.from_url(self.url_of(user))

    def refusals(self) -> list[tuple[str, str]]:
        """Who was refused what, as Redis keeps it."""
        return [(entry["username"], entry["object"]) for entry in self._operator().acl_log()]

    def forget(self) -> None:
        self._operator().flushall()
        self._operator().acl_log_reset()

    def answers(self) -> bool:
        try:
            return bool(self._operator().ping())
        except redis.RedisError:
            return False

    def _operator(self) -> redis.Redis:
        return redis.Redis(port=self.port, username=OPERATOR_USER, password=OPERATOR_USER, decode_responses=True)


def guarded(folder: Path, kind: str) -> GuardedRedis | None:
    """`kind` is valkey or redis; None where the machine has no redis-server."""
    if kind == "redis" and not shutil.which("redis-server"):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    text = acl({user: sha256(user.encode()).hexdigest() for user in users()}, set_info=kind == "valkey")
    (folder / "users.acl").write_text(text)
    options = {"aclfile": str(folder / "users.acl")}
    plain = valkey_server(folder, **options) if kind == "valkey" else redis_server(folder, **options)
    assert plain is not None
    return GuardedRedis(plain.command, plain.port, folder)
