"""How to see that a program is ready for work."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import httpx2
from pydantic import SecretStr

_PAUSE_SECONDS = 0.1


class Probe(Protocol):
    async def wait(self) -> None:
        """Return once the program is ready; never, if it never is."""
        ...


@dataclass(frozen=True)
class HttpProbe:
    """Ready when the address answers 200."""

    url: str

    async def wait(self) -> None:
        async with httpx2.AsyncClient(timeout=5, trust_env=False) as client:
            while True:
                with suppress(httpx2.HTTPError):
                    if (await client.get(self.url)).status_code == 200:
                        return
                await asyncio.sleep(_PAUSE_SECONDS)


@dataclass(frozen=True)
class PingProbe:
    """Ready when a Redis or Valkey answers this user's PING with PONG, which it does not while it loads its data."""

    host: str
    port: int
    user: str
    password: SecretStr

    async def wait(self) -> None:
        while True:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(5):
                    if await self._ping() == b"+PONG\r\n":
                        return
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _ping(self) -> bytes:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(f"AUTH {self.user} {self.password.get_secret_value()}\r\nPING\r\n".encode())
            await reader.readline()
            return await reader.readline()
        finally:
            writer.close()
