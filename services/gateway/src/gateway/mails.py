"""What mails say: the link, and nothing else that is secret."""

from gateway.arrivals import Link, Purpose
from gateway.records import Tenant

_TEXTS = {
    Purpose.INVITATION: (
        "You are invited to Sluice",
        "You are invited to {tenant}. Choose a password here:",
    ),
    Purpose.RESET: (
        "A new password for Sluice",
        "Somebody, most likely you, asked for a new password at {tenant}. Choose it here:",
    ),
    Purpose.SIGN_UP: (
        "Sign up for Sluice",
        "Somebody, most likely you, wants to sign up at {tenant} with this address. Go on here:",
    ),
}
_TAIL = "The link is good once, until {until:%Y-%m-%d %H:%M} UTC. If you did not expect it, do nothing.\n"


def mail_of(link: Link, tenant: Tenant, url: str) -> tuple[str, str]:
    """Subject and text."""
    subject, text = _TEXTS[link.purpose]
    name = " ".join(tenant.name.split())
    return subject, f"{text.format(tenant=name)}\n\n{url}\n\n{_TAIL.format(until=link.expires_at)}"
