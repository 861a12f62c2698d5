"""The queue's gauges, for all streams: the gateway gives them, so that they are there while a stream's workers are not.

Looked up when they are asked for, at most once a second, however many ask.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from sluice.depths import Depth
from sluice.errors import TransientError

_FRESH_SECONDS = 1.0
_TIMEOUT_SECONDS = 2.0
_GAUGES: Mapping[str, tuple[str, Callable[[Depth], float]]] = {
    "sluice_stream_lag": ("Messages on the stream that no worker has taken yet.", lambda d: d.lag),
    "sluice_stream_pending": ("Messages on the stream that a worker has.", lambda d: d.pending),
    "sluice_stream_oldest_seconds": ("Since when the first in line is queued.", lambda d: d.age.total_seconds()),
    "sluice_stream_delayed": ("Messages that wait to be tried again.", lambda d: d.delayed),
    "sluice_stream_dead_letters": ("Dead letters that nobody has discarded or put back.", lambda d: d.dead),
    "sluice_stream_consumers": ("Processes that read the stream.", lambda d: d.consumers),
}


class Depths(Protocol):
    async def __call__(self) -> Mapping[str, Depth]:
        """Raises TransientError."""
        ...


class QueueMetrics(Collector):
    """What the broker does not tell within 2 s is left out, and `sluice_broker_up` is 0: no figure is an old one."""

    def __init__(self, depths: Depths) -> None:
        self._depths = depths
        self._seen: Mapping[str, Depth] = {}
        self._up = False
        self._stale_at = 0.0
        self._looking = asyncio.Lock()
        self._registry = CollectorRegistry()
        self._registry.register(self)

    async def exposition(self) -> bytes:
        """In Prometheus' text format."""
        async with self._looking:
            if time.monotonic() >= self._stale_at:
                await self._look()
                self._stale_at = time.monotonic() + _FRESH_SECONDS
            return generate_latest(self._registry)

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                self._seen, self._up = await self._depths(), True
        except (TransientError, TimeoutError):
            self._seen, self._up = {}, False

    def collect(self) -> Iterable[GaugeMetricFamily]:
        yield GaugeMetricFamily("sluice_broker_up", "1 while Redis answers, else 0.", value=float(self._up))
        for name, (text, value) in _GAUGES.items():
            family = GaugeMetricFamily(name, text, labels=["stream"])
            for stream, depth in self._seen.items():
                family.add_metric([stream], value(depth))
            yield family
