"""Ids, bearer tokens and one-time passwords: random, so that none tells anything of another."""

import hashlib
import secrets
from pathlib import Path
from uuid import uuid4

from sluice.errors import ConfigurationError

_MIN_TOKEN = 32


def new_id() -> str:
    return uuid4().hex


def new_token() -> str:
    """256 bits, as URL-safe text."""
    return secrets.token_urlsafe(32)


def new_one_time_password() -> str:
    """120 bits in groups that people can read out."""
    text = secrets.token_hex(15)
    return "-".join(text[start : start + 5] for start in range(0, len(text), 5))


def fingerprint(text: str) -> str:
    """SHA-256 (hex): what is stored of a token."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_operator_token(path: Path) -> str:
    """Raises ConfigurationError when the file is missing, or holds a token that could be guessed."""
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the operators' token {path} cannot be read; `sluice up` makes it") from error
    if len(token) < _MIN_TOKEN or len(set(token)) < 10:
        raise ConfigurationError(f"the operators' token in {path} is too short: {_MIN_TOKEN} random characters or more")
    return token
