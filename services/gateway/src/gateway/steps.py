"""Work that goes on although a part of it cannot be done."""

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from sluice.errors import SluiceError, TransientError

logger = logging.getLogger(__name__)
R = TypeVar("R")
_AWAY = 10


async def each_step(*steps: Callable[[], Awaitable[None]]) -> None:
    """Takes every step, whatever becomes of those before."""
    for step in steps:
        try:
            await step()
        except SluiceError as error:
            logger.warning("step.failed", exc_info=error)
        except Exception as error:
            logger.exception("step.broken", exc_info=error)


async def each_row(rows: Iterable[R], work: Callable[[R], Awaitable[None]]) -> None:
    """A row that cannot be helped does not keep the others waiting.

    Raises TransientError after ten in a row: what is away for them is away for all.
    """
    away = 0
    for row in rows:
        try:
            await work(row)
            away = 0
        except TransientError as error:
            away += 1
            if away == _AWAY:
                raise
            logger.warning("step.row-waits", exc_info=error)
        except Exception as error:
            logger.exception("step.row-failed", exc_info=error)


async def each_page(read: Callable[[R | None], Awaitable[list[R]]], work: Callable[[R], Awaitable[None]]) -> None:
    """Reads page after page, each from the last row of the one before."""
    last: R | None = None
    while page := await read(last):
        last = page[-1]
        await each_row(page, work)
