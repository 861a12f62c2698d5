"""The address of Redis with what belongs into it."""

from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from sluice.errors import ConfigurationError

_MIN_PASSWORD = 16
_MIN_DIFFERENT = 6


def address(url: str, *, user: str | None = None, password: str = "", ca_file: Path | None = None) -> str:
    """The URL, with this user and this CA in the place of its own.

    Raises:
        ConfigurationError: a CA, and an address without TLS.
    """
    parts = urlsplit(url)
    if user:
        host = parts.netloc.rpartition("@")[2]
        parts = parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{host}")
    if ca_file:
        if parts.scheme != "rediss":
            raise ConfigurationError("SLUICE_REDIS_CA_FILE needs a SLUICE_REDIS_URL that begins with rediss://")
        parts = parts._replace(query=urlencode({"ssl_ca_certs": str(ca_file)}))
    return urlunsplit(parts)


def read_password(path: Path) -> str:
    """
    Raises:
        ConfigurationError: it cannot be read, is empty, or could be guessed.
    """
    try:
        password = path.read_text().strip()
    except OSError as error:
        raise ConfigurationError(f"no password of Redis at {path} ({error.strerror})") from error
    if not password:
        raise ConfigurationError(f"the password of Redis at {path} is empty")
    if len(password) < _MIN_PASSWORD or len(set(password)) < _MIN_DIFFERENT:
        raise ConfigurationError(
            f"the password of Redis at {path} is too short: {_MIN_PASSWORD} random characters or more"
        )
    return password
