"""What operators asked of the index, kept in Redis for a day: every gateway can tell of it."""

import json
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from gateway.adapters.streams import translated
from gateway.records import IndexTask
from sluice.access import Level
from sluice.broker import Broker

_KEPT = timedelta(days=1)


class RedisIndexTasks:
    def __init__(self, broker: Broker) -> None:
        self._redis = broker.redis

    async def keep(self, task: IndexTask) -> None:
        with translated():
            await self._redis.set(_key(task.id), json.dumps(asdict(task)), ex=_KEPT)

    async def find(self, task_id: str) -> IndexTask | None:
        with translated():
            kept = await self._redis.get(_key(task_id))
        if kept is None:
            return None
        values: dict[str, Any] = json.loads(kept)
        return IndexTask(access_level=Level(values.pop("access_level")), **values)


def _key(task_id: str) -> str:
    return f"index-task:{task_id}"
