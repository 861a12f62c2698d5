"""The session is the cookie: sealed, so that the page keeps nothing and a restart signs nobody out."""

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

COOKIE = "sluice_session"
_PURPOSE = b"sluice-frontend session v1"
_CSRF = b"sluice-frontend csrf v1"
_NONCE_BYTES = 12


@dataclass(frozen=True)
class Session:
    """A signed-in browser. `id` is random and names it within the page; `expires_at` is in Unix seconds."""

    id: str
    token: str
    expires_at: int

    @classmethod
    def begin(cls, token: str, lifetime_seconds: int) -> "Session":
        return cls(secrets.token_hex(16), token, int(time.time()) + lifetime_seconds)

    @property
    def expired(self) -> bool:
        return self.expires_at <= time.time()

    @property
    def csrf_token(self) -> str:
        return csrf_token(self.token)

    def vouches_for(self, given: str | None) -> bool:
        """Whether a change was asked for by a page of this session."""
        return hmac.compare_digest(self.csrf_token.encode(), (given or "").encode())


def csrf_token(token: str) -> str:
    """What the page's own forms carry. It tells nothing of the bearer token that it is made from."""
    return hmac.digest(token.encode(), _CSRF, hashlib.sha256).hex()


def cookie_name(name: str, *, secure: bool) -> str:
    """With `__Host-` a browser takes the cookie from this host alone, over TLS, and gives it to no other."""
    return f"__Host-{name}" if secure else name


class SessionSeal:
    """Seals sessions with AES-256-GCM. `secure`: browsers come over https."""

    def __init__(self, key: bytes, *, secure: bool = False) -> None:
        self._cipher = AESGCM(key)
        self.secure = secure
        self.cookie = cookie_name(COOKIE, secure=secure)

    def seal(self, session: Session) -> str:
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, json.dumps(asdict(session)).encode(), _PURPOSE)
        return base64.urlsafe_b64encode(nonce + sealed).decode()

    def open(self, cookies: Mapping[str, str]) -> Session | None:
        """The session of these cookies; None if there is none, or it was changed, sealed by another key, or expired."""
        try:
            data = base64.b64decode(cookies.get(self.cookie, ""), altchars=b"-_", validate=True)
            opened = self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], _PURPOSE)
        except (binascii.Error, ValueError, InvalidTag):
            return None
        session = Session(**json.loads(opened))
        return None if session.expired else session


def decode_key(text: str) -> bytes:
    """Raises ValueError unless the text is 32 bytes in base64, and not a few of them repeated."""
    key = base64.b64decode(text, validate=True)
    if len(key) != 32:
        raise ValueError("the key of the page's cookies must be 32 bytes in base64")
    if len(set(key)) < 10:
        raise ValueError("the key of the page's cookies must be 32 random bytes")
    return key


def load_key(path: Path) -> bytes:
    """The key in this file, which is made (mode 0600) if it is missing."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(f".{secrets.token_hex(4)}")
    if not path.exists():
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(base64.b64encode(os.urandom(32)).decode())
        try:
            path.hardlink_to(draft)  # fails if another process was first: then theirs is the key
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return decode_key(path.read_text())
