"""A long-lived MCP server as our child over stdio: the handshake, its tools, and starting it again when it ends."""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypeAlias

from log_bridge.adapters.child import Child, ChildLostError, RpcError
from sluice.errors import PermanentError, SluiceError, TransientError

logger = logging.getLogger(__name__)
PROTOCOL = "2025-11-25"
KNOWN_PROTOCOLS = frozenset({PROTOCOL, "2025-06-18", "2025-03-26", "2024-11-05"})
_INVALID_PARAMS = -32602
_MAX_TOOL_PAGES = 20

Tools: TypeAlias = Mapping[str, Mapping[str, Any]]


class LogServerUnusableError(TransientError):
    """The command does not start a log server that Sluice can use."""

    type = "log-server-unusable"


@dataclass(frozen=True)
class ChildSettings:
    """Times are in seconds."""

    command: Sequence[str]
    environment: Mapping[str, str]
    start_timeout: float = 30.0
    close_grace: float = 2.0
    ping_interval: float = 30.0
    ping_timeout: float = 5.0
    least_backoff: float = 0.25
    most_backoff: float = 30.0


@dataclass(frozen=True)
class _Session:
    child: Child
    tool: str


class McpStdioClient:
    """Keeps one child running. Of its tools it uses one, which `choose` names and which must only read."""

    def __init__(
        self, settings: ChildSettings, choose: Callable[[Tools], str], redact: Callable[[str], str] = str
    ) -> None:
        self._settings = settings
        self._choose = choose
        self._redact = redact
        self._owner: asyncio.Task[None] | None = None
        self._doubt = asyncio.Event()
        self._next: asyncio.Future[_Session | SluiceError] | None = None
        self._session: _Session | None = None
        self._failure: SluiceError = LogServerUnusableError("the log server has not started yet")

    async def start(self) -> None:
        """Begins to start the child, and to start it again whenever it ends; a second call changes nothing."""
        if self._owner is not None:
            return
        self._next = asyncio.get_running_loop().create_future()
        self._owner = asyncio.create_task(self._keep_running(), name="mcp-child")

    async def close(self) -> None:
        if self._owner is not None:
            self._owner.cancel()
            await asyncio.wait({self._owner})

    async def check(self) -> None:
        """Raises TransientError, with the reason, while there is no child to ask."""
        if self._session is None or self._session.child.ended.is_set():
            raise TransientError(self._failure.detail)

    async def call(self, arguments: Callable[[str], Mapping[str, Any]], timeout_seconds: float) -> tuple[str, Any]:
        """Calls the chosen tool with `arguments(tool)`; gives its name and the result of `tools/call`.

        A call that the child's end cuts off is made once more, since the tool only reads.

        Raises:
            TransientError: no answer in time, the child does not start, or it ended twice.
            PermanentError: the child refuses the arguments, or its answer is longer than 16 MB.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                try:
                    return await self._call_once(arguments)
                except ChildLostError:
                    return await self._call_once(arguments)
        except TimeoutError as error:
            await self.check()
            self._doubt.set()
            raise TransientError(f"the log server did not answer within {timeout_seconds:g} s") from error

    async def _call_once(self, arguments: Callable[[str], Mapping[str, Any]]) -> tuple[str, Any]:
        session = await self._live_session()
        parameters = {"name": session.tool, "arguments": arguments(session.tool)}
        try:
            return session.tool, await session.child.request("tools/call", parameters)
        except RpcError as error:
            kind = PermanentError if error.code == _INVALID_PARAMS else TransientError
            raise kind(f"the log server refused the search: {self._redact(str(error))[:500]}") from error

    async def _live_session(self) -> _Session:
        """The running child, or the next one to come up; what keeps that from coming up is raised at once."""
        if self._session is not None and not self._session.child.ended.is_set():
            return self._session
        if self._next is None:
            raise LogServerUnusableError("the log server is not running")
        outcome = await asyncio.shield(self._next)
        if isinstance(outcome, SluiceError):
            raise outcome
        return outcome

    async def _keep_running(self) -> None:
        backoff = self._settings.least_backoff
        while True:
            began = asyncio.get_running_loop().time()
            try:
                session = await self._launch()
            except Exception as error:
                logger.warning("child.start-failed", exc_info=error)
                known = isinstance(error, SluiceError)
                self._announce(error if known else LogServerUnusableError("the log server could not be started"))
            else:
                await self._attend(session)
            if asyncio.get_running_loop().time() - began > self._settings.most_backoff:
                backoff = self._settings.least_backoff
            await asyncio.sleep(backoff * random.uniform(0.8, 1.2))  # noqa: S311
            backoff = min(backoff * 2, self._settings.most_backoff)

    async def _attend(self, session: _Session) -> None:
        """Until the child ends, or no longer answers; closed in good order when we end."""
        logger.info("child.started", extra={"pid": session.child.pid, "tool": session.tool})
        self._session = session
        self._announce(session)
        try:
            await self._watch(session.child)
        except asyncio.CancelledError:
            self._failure = LogServerUnusableError("the log server is being stopped")
            await asyncio.shield(session.child.close(self._settings.close_grace))
            raise
        finally:
            self._session = None
        self._failure = LogServerUnusableError("the log server ended and is being started again")
        logger.warning("child.ended", extra={"pid": session.child.pid})

    async def _watch(self, child: Child) -> None:
        """Asks an idle child, and one that was late, whether it lives; without an answer it is killed."""
        ended = asyncio.create_task(child.ended.wait())
        try:
            while not child.ended.is_set():
                self._doubt.clear()
                doubt = asyncio.create_task(self._doubt.wait())
                wake = {ended, doubt}
                await asyncio.wait(wake, timeout=self._settings.ping_interval, return_when=asyncio.FIRST_COMPLETED)
                doubt.cancel()
                if not child.ended.is_set() and not await self._answers(child):
                    child.kill("the log server did not answer and was ended")
                    await child.ended.wait()
        finally:
            ended.cancel()

    async def _answers(self, child: Child) -> bool:
        try:
            async with asyncio.timeout(self._settings.ping_timeout):
                await child.request("ping", {}, cancellable=False)
        except (TimeoutError, SluiceError):
            return False
        except RpcError:
            return True
        return True

    async def _launch(self) -> _Session:
        try:
            child = await Child.start(self._settings.command, self._settings.environment, self._redact)
        except OSError as error:
            raise LogServerUnusableError(f"the log server's command cannot be run: {error.strerror}") from error
        try:
            async with asyncio.timeout(self._settings.start_timeout):
                await self._shake_hands(child)
                return _Session(child, self._choose(await self._tools(child)))
        except BaseException as error:
            child.kill("the log server could not be used")
            await asyncio.shield(child.ended.wait())
            raise self._unusable(error) from error

    def _unusable(self, error: BaseException) -> BaseException:
        match error:
            case TimeoutError():
                return LogServerUnusableError(f"the log server was not ready within {self._settings.start_timeout:g} s")
            case RpcError():
                reason = self._redact(str(error))[:500]
                return LogServerUnusableError(f"the log server refused the handshake: {reason}")
            case _:
                return error

    async def _shake_hands(self, child: Child) -> None:
        client = {"name": "sluice-log-bridge", "version": version("log-bridge")}
        hello = {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client}
        answer = await child.request("initialize", hello, cancellable=False)
        spoken = answer.get("protocolVersion") if isinstance(answer, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if spoken not in KNOWN_PROTOCOLS:
            raise LogServerUnusableError("the log server speaks no revision of MCP that Sluice knows")
        await child.notify("notifications/initialized")

    async def _tools(self, child: Child) -> Tools:
        tools: dict[str, Mapping[str, Any]] = {}
        cursor: str | None = None
        for _ in range(_MAX_TOOL_PAGES):
            page = await child.request("tools/list", {"cursor": cursor} if cursor else {})
            with suppress(TypeError, KeyError, AttributeError):
                tools.update({tool["name"]: tool for tool in page["tools"]})
                cursor = page.get("nextCursor")
            if not cursor:
                break
        return tools

    def _announce(self, outcome: _Session | SluiceError) -> None:
        """Wakes who waits for this start; who comes later waits for the next one."""
        if isinstance(outcome, SluiceError):
            self._failure = outcome
        if self._next is not None and not self._next.done():
            self._next.set_result(outcome)
        self._next = asyncio.get_running_loop().create_future()
