"""What a bulk producer and the gateway agree on: the form of an API key, of an offer, and the proof of it."""

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sluice.access import Level
from sluice.messages import DocumentOffered, Grant

_API_KEY = re.compile(r"sluice_(key-[0-9a-f]{24})_[0-9a-f]{64}")
_CONTENTS = ("text", "content_base64", "url")
IDEMPOTENCY_KEY = r"^[\x21-\x7e]{1,200}$"
"""As over HTTP: up to 200 printable ASCII characters without a space."""


def new_api_key() -> tuple[str, str]:
    """The id of a key, and the key itself with 256 random bits; its id can be read off it."""
    key_id = f"key-{secrets.token_hex(12)}"
    return key_id, new_secret_of(key_id)


def new_secret_of(key_id: str) -> str:
    """A key with this id and 256 new random bits."""
    return f"sluice_{key_id}_{secrets.token_hex(32)}"


def key_id_of(api_key: str) -> str | None:
    """None for what has not the form of an API key."""
    match = _API_KEY.fullmatch(api_key)
    return match[1] if match else None


def key_digest(api_key: str) -> bytes:
    """What proves offers, and all that the gateway keeps of a key: SHA-256, 32 bytes."""
    return hashlib.sha256(api_key.encode()).digest()


class Offer(BaseModel):
    """A document as a producer offers it: its content as text, as bytes in base64, or a URL to fetch it from."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={"oneOf": [{"required": [name]} for name in _CONTENTS]},
    )
    name: str = Field(default="", description="The file's name; a URL's name is the URL.")
    access_level: Level = Field(description="Who may read it: INTERNAL is staff alone.")
    text: str | None = Field(default=None, description="The document itself, where it is text.")
    content_base64: str | None = Field(default=None, description="The document's bytes, in base64 (RFC 4648, padded).")
    url: str | None = Field(default=None, description="Where to fetch it: http or https, without credentials.")
    idempotency_key: Annotated[str, Field(pattern=IDEMPOTENCY_KEY)] | None = Field(
        default=None, description="The same key again is the same document's offer; the grant's nonce by default."
    )

    @model_validator(mode="after")
    def _has_one_content(self) -> Self:
        if sum(getattr(self, name) is not None for name in _CONTENTS) != 1:
            raise ValueError(f"exactly one of {', '.join(_CONTENTS)}")
        return self

    def to_body(self) -> str:
        return self.model_dump_json(exclude_none=True)


def sign(api_key: str, body: str, *, nonce: str | None = None, at: datetime | None = None) -> DocumentOffered:
    """The body with its grant. Raises ValueError for what is no API key."""
    key_id = key_id_of(api_key)
    if key_id is None:
        raise ValueError("not an API key: it looks like sluice_key-..._...")
    time, nonce = (at or datetime.now(UTC)).isoformat(), nonce or secrets.token_hex(16)
    proof = _proof(key_digest(api_key), key_id, time, nonce, body)
    return DocumentOffered(body=body, grant=Grant(key_id=key_id, time=time, nonce=nonce, hmac=proof))


def proves(digest: bytes, offered: DocumentOffered) -> bool:
    """Whether whoever holds the key with this digest offered these very bytes; compared in constant time."""
    grant = offered.grant
    expected = _proof(digest, grant.key_id, grant.time, grant.nonce, offered.body)
    return hmac.compare_digest(expected, grant.hmac)


def _proof(digest: bytes, key_id: str, time: str, nonce: str, body: str) -> str:
    return hmac.new(digest, f"{key_id}.{time}.{nonce}.{body}".encode(), hashlib.sha256).hexdigest()


def wire_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the entry's field `__data__`, the body included."""
    offered, offer = DocumentOffered.model_json_schema(), Offer.model_json_schema()
    definitions = offered.pop("$defs") | offer.pop("$defs", {}) | {"Offer": offer}
    body = {"contentMediaType": "application/json", "contentSchema": {"$ref": "#/$defs/Offer"}}
    offered["properties"]["body"] |= body
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **offered, "$defs": definitions}
