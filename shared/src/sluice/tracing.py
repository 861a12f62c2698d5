"""Traces by W3C trace context: one trace from the HTTP request through every hop to its answer.

Without an OTLP endpoint nothing is recorded; the ids travel with the messages and stand in the log lines all the same.
Spans hold ids, counts and names, never what people wrote: an exception is told by its class alone.
"""

import re
import secrets
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Self

from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    get_current_span,
    set_span_in_context,
    use_span,
)

if TYPE_CHECKING:
    from sluice.otlp import Recorder
    from sluice.settings import CommonSettings

Attributes = Mapping[str, str | int | None]
_TRACEPARENT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_NOWHERE = Context()
_tracer: ContextVar[Tracer | None] = ContextVar("sluice_tracer", default=None)


class Tracing:
    """The spans of one service."""

    def __init__(self, recorder: "Recorder | None" = None) -> None:
        self._recorder = recorder
        self._tracer = recorder.tracer if recorder else None

    @classmethod
    def of(cls, settings: "CommonSettings", service: str) -> Self:
        if settings.otlp_endpoint is None:
            return cls()
        from sluice.otlp import Recorder  # noqa: PLC0415  # 0.1 s and 10 MB that only who records should pay

        headers = settings.otlp_headers.get_secret_value() if settings.otlp_headers else ""
        return cls(Recorder(settings.otlp_endpoint, headers, service))

    def serving(self, traceparent: str | None, name: str) -> AbstractContextManager[object]:
        """A request from outside: within the caller's trace, or the first span of a new one."""
        if self._tracer is None:
            return _Unrecorded(_known(_remote(traceparent)))
        return self._span(name, SpanKind.SERVER, _remote(traceparent), {})

    def consuming(
        self, stream: str, traceparent: str | None, attributes: Callable[[], Attributes]
    ) -> AbstractContextManager[object]:
        """A message on its way through its handler; its parent is who published it."""
        if self._tracer is None:
            return _Unrecorded(_known(_remote(traceparent)))
        values = {**_messaging("process", stream), **attributes()}
        return self._span(f"process {stream}", SpanKind.CONSUMER, _remote(traceparent), values)

    def publishing(
        self, stream: str, traceparent: str | None, attributes: Callable[[], Attributes]
    ) -> AbstractContextManager[str | None]:
        """Gives what the message has to carry: a span of its own, within the one at work or else the message's own."""
        if self._tracer is None:
            return nullcontext(current_traceparent() or traceparent)
        return self._publishing(stream, traceparent, {**_messaging("send", stream), **attributes()})

    @contextmanager
    def _publishing(self, stream: str, traceparent: str | None, attributes: Attributes) -> Generator[str | None]:
        parent = set_span_in_context(get_current_span()) if current_traceparent() else _remote(traceparent)
        with self._span(f"send {stream}", SpanKind.PRODUCER, parent, attributes):
            yield current_traceparent()

    async def close(self) -> None:
        """Sends what is recorded; a collector that is away delays the end by no more than moments."""
        if self._recorder is not None:
            await self._recorder.close()

    @contextmanager
    def _span(self, name: str, kind: SpanKind, parent: Context, attributes: Attributes) -> Generator[Span]:
        token = _tracer.set(self._tracer)
        try:
            with _running(_begin(self._tracer, name, kind, parent, attributes)) as span:
                yield span
        finally:
            _tracer.reset(token)


@contextmanager
def step(name: str, **attributes: str | int | None) -> Generator[None]:
    """A part of what the service is doing just now, as a span of its own where one is recorded."""
    if (tracer := _tracer.get()) is None:
        yield
        return
    parent = set_span_in_context(get_current_span())
    with _running(_begin(tracer, name, SpanKind.INTERNAL, parent, attributes)):
        yield


def current_traceparent() -> str | None:
    """What is to be sent along with what is published now."""
    context = get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def trace_ids() -> dict[str, str]:
    """What a log line carries."""
    context = get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def note(attributes: Mapping[str, str | int], *, name: str | None = None, failed: bool = False) -> None:
    """Adds to the span at work what is known only later."""
    span = get_current_span()
    if not span.is_recording():
        return
    span.set_attributes(dict(attributes))
    if name is not None:
        span.update_name(name)
    if failed:
        span.set_status(StatusCode.ERROR)


def _begin(tracer: Tracer | None, name: str, kind: SpanKind, parent: Context, attributes: Attributes) -> Span:
    """Where nothing is recorded, the span that we are within; a new one's ids where there is none."""
    if tracer is not None:
        known = {key: value for key, value in attributes.items() if value is not None}
        return tracer.start_span(name, parent, kind, known)
    return _known(parent)


def _known(parent: Context) -> Span:
    span = get_current_span(parent)
    if span.get_span_context().is_valid:
        return span
    ids = SpanContext(secrets.randbits(128) or 1, secrets.randbits(64) or 1, is_remote=False)
    return NonRecordingSpan(ids)


@contextmanager
def _running(span: Span) -> Generator[Span]:
    with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield span
        except Exception as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise


class _Unrecorded:
    """Within a span that is known by its ids alone."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> None:
        self._token = attach(set_span_in_context(self._span))

    def __exit__(self, *_: object) -> None:
        detach(self._token)


def _remote(traceparent: str | None) -> Context:
    """What is not a traceparent of version 0 counts as none."""
    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is None:
        return _NOWHERE
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    ids = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags & TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(ids), _NOWHERE)


def _messaging(operation: str, stream: str) -> Attributes:
    return {
        "messaging.system": "redis",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": stream,
    }
