"""The OpenID Connect issuers that people may come from, as the operator's settings name them."""

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, field_validator, model_validator

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class Issuer(BaseModel):
    """Where people prove who they are, and the tenants that they may come to from there.

    `may_join`: whoever the issuer knows becomes a person of the tenant, with the right to read; else the invited alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: _Slug
    title: Annotated[str, StringConstraints(min_length=1, max_length=50)] = ""
    issuer: Annotated[str, StringConstraints(max_length=300)]
    client_id: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    client_secret: SecretStr | None = None
    client_secret_file: Path | None = None
    tenants: Annotated[tuple[_Slug, ...], Field(min_length=1)]
    may_join: bool = False

    @field_validator("issuer")
    @classmethod
    def _nobody_listens_in(cls, value: str) -> str:
        if not is_private(value):
            raise ValueError("must be an https address without a query; http only on this machine")
        return value

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if self.client_secret and self.client_secret_file:
            raise ValueError("client_secret or client_secret_file, not both")
        return self

    @property
    def shown_as(self) -> str:
        return self.title or self.name.replace("-", " ").title()

    def secret(self) -> str | None:
        """Read at each use, so that a new one holds at once. Raises OSError."""
        if self.client_secret_file is not None:
            return self.client_secret_file.read_text().strip()
        return self.client_secret.get_secret_value() if self.client_secret else None


def is_private(address: str) -> bool:
    """Whether nobody can listen in on what is asked there: TLS, or this very machine."""
    try:
        parts = urlsplit(address)
        port_is_good = parts.port != 0
    except ValueError:
        return False
    if not parts.hostname or parts.username is not None or parts.query or parts.fragment or not port_is_good:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)


def one_name_each(issuers: tuple[Issuer, ...]) -> tuple[Issuer, ...]:
    """Raises ValueError: two have the same name, or the same issuer."""
    for field in ("name", "issuer"):
        if len({getattr(issuer, field) for issuer in issuers}) < len(issuers):
            raise ValueError(f"two issuers have the same {field}")
    return issuers
