"""One life of a child process that speaks JSON-RPC, a message a line, over its stdin and stdout."""

import asyncio
import errno
import json
import logging
import os
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from sluice.errors import PermanentError, TransientError

logger = logging.getLogger(__name__)
LINE_LIMIT = 16 << 20
_STDERR_LINE = 2_000
_STDERR_LINES_A_WINDOW = 100
_STDERR_WINDOW_SECONDS = 10.0
_METHOD_NOT_FOUND = -32601


class ChildLostError(TransientError):
    """The child ended, or was ended, before it answered."""

    type = "log-server-lost"


class AnswerTooLongError(PermanentError):
    type = "answer-too-long"


class RpcError(Exception):
    """The child's own JSON-RPC error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Protocol(asyncio.subprocess.SubprocessStreamProtocol):
    """Tells of the process's end at once; `Process.wait` also waits for whoever inherited its pipes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(LINE_LIMIT, loop)
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        self.exited.set()
        super().process_exited()


class Child:
    """Started by `start`. `ended` is set once it is gone, with all that it started."""

    def __init__(
        self, transport: asyncio.SubprocessTransport, streams: _Protocol, redact: Callable[[str], str]
    ) -> None:
        assert streams.stdin is not None
        assert streams.stdout is not None
        assert streams.stderr is not None
        self.ended = asyncio.Event()
        self.pid = transport.get_pid()
        self._transport = transport
        self._exited = streams.exited
        self._stdin = streams.stdin
        self._redact = redact
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last_id = 0
        self._reason: TransientError | PermanentError = ChildLostError("the log server ended")
        self._stderr = asyncio.create_task(self._drain(streams.stderr))
        self._owner = asyncio.create_task(self._live(streams.stdout))

    @classmethod
    async def start(
        cls, command: Sequence[str], environment: Mapping[str, str], redact: Callable[[str], str]
    ) -> "Child":
        """Raises OSError when there is no such program. The child leads a session of its own."""
        if shutil.which(command[0], path=environment.get("PATH")) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])
        loop = asyncio.get_running_loop()
        transport, streams = await loop.subprocess_exec(
            lambda: _Protocol(loop), *command, env=dict(environment), start_new_session=True
        )
        return cls(transport, streams, redact)

    async def request(self, method: str, params: Mapping[str, Any], *, cancellable: bool = True) -> Any:
        """The result. Bound it with `asyncio.timeout`, which then covers writing too; the child is told of the end.

        Raises:
            RpcError: the child's answer is an error.
            ChildLostError: the child ended.
            AnswerTooLongError: the answer is longer than LINE_LIMIT.
        """
        if self.ended.is_set():
            raise self._reason
        self._last_id += 1
        number = self._last_id
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            await self._write({"id": number, "method": method, "params": params})
            return await answer
        except asyncio.CancelledError:
            if cancellable:
                self._send({"method": "notifications/cancelled", "params": {"requestId": number}})
            raise
        finally:
            del self._waiting[number]

    async def notify(self, method: str) -> None:
        await self._write({"method": method})

    def kill(self, reason: str) -> None:
        """Ends the child and whatever it started, at once."""
        self._reason = ChildLostError(reason)
        self._signal(signal.SIGKILL)

    async def close(self, grace_seconds: float) -> None:
        """As MCP asks: closes stdin, then SIGTERM, then SIGKILL, each after the grace."""
        self._stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(TimeoutError):
                await asyncio.wait_for(self.ended.wait(), grace_seconds)
                return
            self._signal(number)
        await self.ended.wait()

    async def _live(self, stdout: asyncio.StreamReader) -> None:
        """Owns the answers from the first to the end of the child, and then clears up after it."""
        exited = asyncio.create_task(self._exited.wait())
        reading = asyncio.create_task(self._read(stdout))
        try:
            await asyncio.wait({exited, reading}, return_when=asyncio.FIRST_COMPLETED)
            if exited.done():  # its last words may still be in the pipe; a grandchild may hold that open
                await asyncio.wait({reading}, timeout=0.5)
        finally:
            reading.cancel()
            self._signal(signal.SIGKILL)
            await asyncio.shield(asyncio.wait({exited}))
            await asyncio.wait({self._stderr}, timeout=0.5)
            self._stderr.cancel()
            self._transport.close()
            self._fail_waiting()
            self.ended.set()

    async def _read(self, stdout: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await stdout.readline()
            except ValueError:
                self._reason = AnswerTooLongError(f"the answer is longer than {LINE_LIMIT >> 20} MB: narrow the search")
                return
            if not line:
                return
            self._receive(line)

    def _receive(self, line: bytes) -> None:
        try:
            message: Any = json.loads(line)
        except (ValueError, RecursionError):
            logger.warning("child.not-json", extra={"pid": self.pid, "bytes": len(line)})
            return
        for each in cast(list[Any], message) if isinstance(message, list) else [message]:
            if isinstance(each, dict):
                self._dispatch(cast(dict[str, Any], each))

    def _dispatch(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        if "method" in message:
            if number is not None:
                self._answer(number, message["method"])
            return
        answer = self._waiting.get(number) if isinstance(number, int) else None
        if answer is None or answer.done():  # we gave it up
            return
        if "error" in message:
            answer.set_exception(_rpc_error(message["error"]))
        else:
            answer.set_result(message.get("result"))

    def _answer(self, number: Any, method: str) -> None:
        """The child may ask whether we live; we offer it nothing else."""
        if method == "ping":
            self._send({"id": number, "result": {}})
        else:
            self._send({"id": number, "error": {"code": _METHOD_NOT_FOUND, "message": "Method not found"}})

    async def _write(self, message: Mapping[str, Any]) -> None:
        self._stdin.write(_line(message))
        with suppress(ConnectionError):  # the child's end is told by its owner
            await self._stdin.drain()

    def _send(self, message: Mapping[str, Any]) -> None:
        """Without waiting, and only while the child takes what it is sent."""
        if not self._stdin.is_closing() and self._stdin.transport.get_write_buffer_size() == 0:
            self._stdin.write(_line(message))

    async def _drain(self, stderr: asyncio.StreamReader) -> None:
        """Takes all that the child says, and logs the first lines of every ten seconds."""
        window, lines, rest = 0.0, 0, b""
        while chunk := await stderr.read(1 << 16):
            now = asyncio.get_running_loop().time()
            if now - window > _STDERR_WINDOW_SECONDS:
                window, lines = now, 0
            *complete, rest = (rest + chunk).split(b"\n")
            rest = rest[:_STDERR_LINE]
            for line in complete[: max(0, _STDERR_LINES_A_WINDOW - lines)]:
                self._log(line)
            lines += len(complete)
        self._log(rest)

    def _log(self, line: bytes) -> None:
        if text := line[:_STDERR_LINE].decode(errors="replace").strip():
            logger.info("child.stderr", extra={"pid": self.pid, "line": self._redact(text)})

    def _fail_waiting(self) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(self._reason)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False).encode() + b"\n"


def _rpc_error(error: Any) -> RpcError:
    known = cast(dict[str, Any], error) if isinstance(error, dict) else {}
    code = known.get("code")
    return RpcError(code if isinstance(code, int) else 0, str(known.get("message", "")))
