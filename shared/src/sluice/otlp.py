"""The OpenTelemetry SDK: spans go to a collector by OTLP over HTTP, in batches, from a thread of their own.

A collector that is slow or away costs its spans and nothing else. Timeouts, sampling and further resource attributes
come from the variables `OTEL_*` that the SDK reads itself.
"""

import asyncio
import logging
import threading
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.util.re import parse_env_headers

logger = logging.getLogger(__name__)
_CLOSING_SECONDS = 2.0


class Recorder:
    """The tracer of one service."""

    def __init__(self, endpoint: str, headers: str, service: str) -> None:
        for name in ("opentelemetry.exporter", "opentelemetry.sdk"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # they tell every batch, and may name the address
        told, address = parse_env_headers(headers, liberal=True), f"{endpoint.rstrip('/')}/v1/traces"
        exporter = _Exporter(OTLPSpanExporter(endpoint=address, headers=told))
        self._processor = BatchSpanProcessor(exporter)
        provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
        provider.add_span_processor(self._processor)
        self.tracer = provider.get_tracer("sluice")

    async def close(self) -> None:
        """Waits for the last batch for 2 s at most; the thread that sends it holds up no exit."""
        loop, closed = asyncio.get_running_loop(), asyncio.Event()

        def close() -> None:
            self._processor.shutdown()
            if not loop.is_closed():
                loop.call_soon_threadsafe(closed.set)

        threading.Thread(target=close, name="tracing-close", daemon=True).start()
        try:
            async with asyncio.timeout(_CLOSING_SECONDS):
                await closed.wait()
        except TimeoutError:
            logger.warning("tracing.unsent")


class _Exporter(SpanExporter):
    """Says once that the collector is away, and once that it is back."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        away = result is not SpanExportResult.SUCCESS
        if away != self._away:
            self._away = away
            logger.warning("tracing.collector-away" if away else "tracing.collector-back")
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)
