"""A mail server on a loopback port, which can be told to keep senders waiting."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from tests.support.ports import free_port

SENDER = "sluice@example.com"


@dataclass
class PostOffice:
    url: str
    mails: list[EmailMessage] = field(default_factory=list[EmailMessage])
    open: threading.Event = field(default_factory=threading.Event)
    refuses: bool = False

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802  # as aiosmtpd names it
        await server.loop.run_in_executor(None, self.open.wait, 20)
        if self.refuses:
            return "550 no such mailbox"
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        assert envelope.rcpt_tos == [mail["To"]]
        self.mails.append(mail)
        return "250 OK"

    def links_to(self, address: str) -> list[str]:
        """The tokens of the links that were mailed there, the oldest first."""
        bodies = [mail.get_content() for mail in self.mails if mail["To"] == address]
        return [body.partition("/link?token=")[2].split()[0] for body in bodies]


@contextmanager
def running_post_office(login: tuple[str, str] | None = None) -> Iterator[PostOffice]:
    """With a login it takes mail from that user alone."""

    def knows(server: Any, session: Any, envelope: Any, mechanism: str, given: LoginPassword) -> AuthResult:
        return AuthResult(success=(given.login.decode(), given.password.decode()) == login)

    port = free_port()
    office = PostOffice(f"smtp://127.0.0.1:{port}")
    office.open.set()
    authentication: dict[str, Any] = {"authenticator": knows, "auth_required": True, "auth_require_tls": False}
    controller = Controller(office, hostname="127.0.0.1", port=port, **(authentication if login else {}))
    controller.start()
    try:
        yield office
    finally:
        office.open.set()
        controller.stop()
