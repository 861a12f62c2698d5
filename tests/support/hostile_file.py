"""A file that is hard on whoever reads it, and how it must end."""

from dataclasses import dataclass


@dataclass(frozen=True)
class HostileFile:
    """Either its text holds `reads`, or it is refused for a reason that holds `refused`; `never` is in no text."""

    name: str
    data: bytes
    reads: str | None = None
    refused: str | None = None
    never: str | None = None

    def __str__(self) -> str:
        return self.name
