"""Follows an answer: a reader takes the events as they come, the page draws what they have added up to."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from sluice_frontend.answering import LiveAnswer
from sluice_frontend.errors import GatewayError
from sluice_frontend.models import Problem
from sluice_frontend.ports import Gateway

_REDRAW_SECONDS = 0.08  # a redraw a token costs five times the time of merged ones under load
_IDLE_SECONDS = 0.5  # Gradio sees that the tab was closed only between two yields
_CUT_OFF = Problem(title="Cut off", status=502, detail="The connection ended before the answer did. Try again.")


class Follower:
    """Follows answers for everybody; it keeps the cancellations that are under way."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._cancellations: set[asyncio.Task[None]] = set()

    async def follow(self, token: str, answer: LiveAnswer) -> AsyncGenerator[None]:
        """Fold the events into `answer` and yield when there is something new to draw, and now and
        then without news.

        Closing this early (Stop, a closed tab) cancels the request at the gateway.
        """
        news = asyncio.Event()
        async with self._reading(token, answer, news):
            ended = False
            while not ended:
                await asyncio.sleep(_REDRAW_SECONDS)
                with suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), _IDLE_SECONDS)
                news.clear()
                ended = answer.ended
                yield

    @asynccontextmanager
    async def _reading(self, token: str, answer: LiveAnswer, news: asyncio.Event) -> AsyncGenerator[None]:
        reader = asyncio.create_task(self._read(token, answer, news))
        try:
            yield
        finally:
            reader.cancel()
            if answer.request_id and not answer.ended:
                self._cancel_later(token, answer.request_id)

    async def _read(self, token: str, answer: LiveAnswer, news: asyncio.Event) -> None:
        try:
            async with self._gateway.ask(token, answer.question, answer.conversation_id) as events:
                async for event in events:
                    answer.apply(event)
                    news.set()
            if not answer.ended:
                answer.fail(_CUT_OFF)
        except GatewayError as error:
            answer.fail(error.problem)
        except (KeyError, TypeError, ValueError) as error:  # an event in a shape that this page does not know
            answer.fail(Problem(detail=f"The answer could not be read ({type(error).__name__})."))
        finally:
            news.set()

    def _cancel_later(self, token: str, request_id: str) -> None:
        """In a task of its own: whoever stops the answer has been cancelled and can wait for nothing more."""
        task = asyncio.create_task(self._cancel(token, request_id))
        self._cancellations.add(task)
        task.add_done_callback(self._cancellations.discard)

    async def _cancel(self, token: str, request_id: str) -> None:
        with suppress(GatewayError):  # it has ended already, or the gateway saw the closed connection itself
            await self._gateway.cancel(token, request_id)
