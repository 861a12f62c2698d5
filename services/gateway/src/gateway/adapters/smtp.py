"""Mail by SMTP, in the background: nobody who asks for one can tell by the time whether it was sent."""

import asyncio
import logging
import smtplib
import ssl
from collections.abc import Coroutine
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sluice.errors import ConfigurationError, SluiceError

logger = logging.getLogger(__name__)
_TIMEOUT_SECONDS = 20
_AT_ONCE = 4
_WAITING = 200
_CLOSE_SECONDS = 5
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, kw_only=True)
class SmtpServer:
    """`smtps://` is TLS from the start; `smtp://` turns to it before anything else, except on this machine."""

    url: str
    password_file: Path | None
    sender: str


class SmtpPost:
    """Sends mail, a few at a time. What cannot be sent is logged: who asked for it asks again."""

    def __init__(self, server: SmtpServer) -> None:
        self._server = server
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._under_way: set[asyncio.Task[None]] = set()

    async def send(self, to: str, subject: str, text: str) -> None:
        """Raises OSError: the server does not take it."""
        async with self._slots:
            await asyncio.to_thread(self._send, to, subject, text)

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Work that ends in mail. More of it than can wait is dropped."""
        if len(self._under_way) >= _WAITING:
            work.close()
            logger.error("mail.too-much")
            return
        task = asyncio.create_task(self._worked(work))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """Lets end what is under way, for a moment."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=_CLOSE_SECONDS)
        for task in self._under_way:
            task.cancel()

    async def _worked(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (SluiceError, OSError) as error:
            logger.error("mail.failed", extra={"reason": type(error).__name__})

    def _send(self, to: str, subject: str, text: str) -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self._server.sender, to, subject
        mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain=self._server.sender.rpartition("@")[2])
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(text)
        parts = urlsplit(self._server.url)
        host, tls = parts.hostname or "", ssl.create_default_context()
        with (
            smtplib.SMTP_SSL(host, parts.port or 465, timeout=_TIMEOUT_SECONDS, context=tls)
            if parts.scheme == "smtps"
            else smtplib.SMTP(host, parts.port or 587, timeout=_TIMEOUT_SECONDS)
        ) as connection:
            if parts.scheme == "smtp" and host not in LOOPBACK:
                connection.starttls(context=tls)
            if parts.username:
                connection.login(unquote(parts.username), self._password())
            connection.send_message(mail)

    def _password(self) -> str:
        try:
            return self._server.password_file.read_text().strip() if self._server.password_file else ""
        except OSError as error:
            raise ConfigurationError("the password of the mail server cannot be read") from error
