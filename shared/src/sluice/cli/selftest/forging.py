"""Messages of whoever has Redis and no key: stolen ones changed, and made-up ones with a passport of their own."""

import base64
import binascii
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sluice.access import Level, Right

Body = dict[str, Any]


def forgeries(stolen: Body, *, tenant: str, request_id: str, question: str) -> Iterator[tuple[str, Body]]:
    """Every change that would be worth something: each is told by what was done to it.

    `tenant` is whose text is wanted, `request_id` a request whose reply the forger may read.
    """
    passport = stolen["passport"]
    raised = {"clearance": Level.INTERNAL, "tenant": tenant, "job": request_id, "rights": sorted(Right)}
    wanted: Body = {
        "tenant": tenant,
        "request_id": request_id,
        "question": question,
        "search_query": question,
        "access_level": Level.INTERNAL,
        "deadline": (datetime.now(UTC) + timedelta(minutes=2)).isoformat(),
    }
    yield "as it was", stolen
    yield "under another id", stolen
    yield "with another question", stolen | {"question": question, "search_query": question}
    yield "of another tenant", stolen | {"tenant": tenant}
    yield "for another request", stolen | {"request_id": request_id}
    yield "unsealed", {name: value for name, value in stolen.items() if name != "sealed"} | wanted
    yield "with a raised passport", stolen | wanted | {"passport": changed(passport, raised)}
    yield "with a passport of one's own", stolen | wanted | {"passport": changed(passport, raised, sign=True)}
    yield "without a passport", stolen | wanted | {"passport": ""}


def changed(passport: str, claims: Body, *, sign: bool = False) -> str:
    """The passport with other claims; its signature stays, or is made with a key of one's own."""
    parts = passport.split(".")
    place, old = next((number, found) for number, part in enumerate(parts) if (found := _claims(part)) is not None)
    written = json.dumps(old | claims).encode()
    parts[place] = _encode(written)
    if sign:
        parts[-1] = _encode(Ed25519PrivateKey.generate().sign(written))
    return ".".join(parts)


def renamed(body: Body) -> Body:
    return body | {"message_id": uuid4().hex}


def _claims(part: str) -> Body | None:
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, binascii.Error):
        return None
    return found if isinstance(found, dict) else None  # pyright: ignore[reportUnknownVariableType]


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
