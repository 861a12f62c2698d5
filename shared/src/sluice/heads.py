"""Connections on which what stands around a body cannot grow without end; uvicorn bounds it with h11 alone."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024


class BoundedHeads(HttpToolsProtocol):
    """Answers 400 and hangs up when a head, or what comes after a body, has more than `HEAD_BYTES`."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._in_body = False
        self._went_on = False
        self._unfinished = 0
        self._in_headers = 0

    def data_received(self, data: bytes) -> None:
        self._went_on = False
        super().data_received(data)
        self._unfinished = 0 if self._went_on else self._unfinished + len(data)
        if self._unfinished > HEAD_BYTES and not self._in_body and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        self._now(in_body=False)
        self._in_headers = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._in_headers += len(name) + len(value)
        if self._in_headers > HEAD_BYTES:
            raise ValueError("the headers are too large")  # which the parser takes for an invalid request
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._now(in_body=True)
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        self._now(in_body=False)

    def on_body(self, body: bytes) -> None:
        self._now(in_body=True)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._now(in_body=False)
        super().on_message_complete()

    def _now(self, *, in_body: bool) -> None:
        self._in_body, self._went_on = in_body, True
