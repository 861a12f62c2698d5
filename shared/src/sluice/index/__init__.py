"""The vector index: nothing is read or written without a Scope."""

from sluice.index.building import Building
from sluice.index.copies import KINDS, Copies, Copy, Kind, Name, State
from sluice.index.index import BeingRestoredError, Found, Index
from sluice.index.rows import AccessViolationError, IndexedChunk
from sluice.index.server import CopyGoneError, ServerAwayError, TooSlowError, UnreadableError
from sluice.index.upkeep import Upkeep

__all__ = [
    "KINDS",
    "AccessViolationError",
    "BeingRestoredError",
    "Building",
    "Copies",
    "Copy",
    "CopyGoneError",
    "Found",
    "Index",
    "IndexedChunk",
    "Kind",
    "Name",
    "ServerAwayError",
    "State",
    "TooSlowError",
    "UnreadableError",
    "Upkeep",
]
