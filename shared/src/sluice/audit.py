"""The audit log's chains: what a record's hash covers, what a head says, and what is wrong with a chain that was read.

Each record carries the hash of the one before; the head, signed by the gateway's passport key, names the last one. Who
can write to the database alone can change, drop or reorder nothing that is not found here, and cut nothing off its end,
but for putting back the whole of an older chain together with its head of that time: heads kept elsewhere tell.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from sluice.access import PassportSigner, PassportVerifier, digest

SYSTEM = "system"
"""The chain of what concerns no tenant; no tenant's id is like it."""
BEGINNING = "0" * 64
"""What the first record has for the hash of the one before."""
FIRST = "tenant.added"
"""The action that every tenant's chain begins with, so that one that is begun anew is found."""
BROKEN = "audit.chain-broken"
"""The action of a record that the gateway wrote where it found that the chain or its head had been changed."""
_DOMAIN = b"sluice audit head v1\n"


class AuditRecord(BaseModel):
    """Who did what to what. `once` names what is told of once only, however often it is told."""

    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)

    chain: str
    sequence: int
    at: AwareDatetime
    tenant_id: str | None
    actor: str
    action: str
    target: str
    detail: dict[str, Any]
    once: str | None
    previous: str
    hash: str

    @property
    def computed(self) -> str:
        """What the hash must be: SHA-256 of all other fields as canonical JSON, times in UTC."""
        fields = self.model_dump(exclude={"hash", "at"})
        return digest(fields | {"at": self.at.astimezone(UTC).isoformat(timespec="microseconds")})


class Head(BaseModel):
    """The last record of a chain, signed."""

    model_config = ConfigDict(frozen=True, extra="ignore", from_attributes=True)

    chain: str
    sequence: int
    hash: str
    signature: str = ""

    def signed(self, signer: PassportSigner) -> "Head":
        return self.model_copy(update={"signature": signer.attest(self._statement)})

    def holds(self, verifier: PassportVerifier) -> bool:
        return verifier.attested(self._statement, self.signature)

    @property
    def _statement(self) -> bytes:
        fields = {"chain": self.chain, "sequence": self.sequence, "hash": self.hash}
        return _DOMAIN + json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


class Fault(BaseModel):
    """What is wrong with a chain, and at which record."""

    sequence: int
    what: str


class ChainCheck:
    """Reads a chain's records in the order in which they were given, then its head; says what is wrong with them."""

    def __init__(self, chain: str, kept: Mapping[int, str] | None = None) -> None:
        """`kept`: hashes by sequence number, of heads that were written down earlier."""
        self.chain = chain
        self.sequence = 0
        self.hash: str = BEGINNING
        self._kept = dict(kept or {})

    def take(self, record: AuditRecord) -> Iterator[Fault]:
        number, expected = record.sequence, self.sequence + 1
        if number <= self.sequence:
            yield Fault(sequence=number, what=f"record {number} stands after record {self.sequence}")
        elif number > expected:
            last = f" to {number - 1}" if number - 1 > expected else ""
            yield Fault(sequence=expected, what=f"missing{last}")
        if record.computed != record.hash or record.chain != self.chain:
            yield Fault(sequence=number, what="was changed")
        elif number == expected and record.previous != self.hash:
            yield Fault(sequence=max(self.sequence, 1), what="is not the one that the record after it follows")
        if self._kept.pop(number, record.hash) != record.hash:
            yield Fault(sequence=number, what="is not the one whose hash was kept")
        if number == 1 and self.chain != SYSTEM and record.action != FIRST:
            yield Fault(sequence=1, what=f"is not {FIRST}: what the chain began with is gone")
        if record.action == BROKEN:
            yield Fault(sequence=number, what="the gateway found here that the chain had been changed before")
        self.sequence, self.hash = number, record.hash

    def end(self, head: Head | None, verifier: PassportVerifier) -> Iterator[Fault]:
        """`head` None: there is none."""
        for sequence in sorted(number for number in self._kept if number > self.sequence):
            yield Fault(sequence=sequence, what="missing: its hash was kept")
        if head is None or not head.signature:
            yield Fault(sequence=self.sequence, what="the chain has no head: its end may be cut off")
            return
        if head.chain != self.chain or not head.holds(verifier):
            yield Fault(sequence=head.sequence, what="the head was not signed by this system: the end may be cut off")
        if self.sequence < head.sequence:
            yield Fault(sequence=self.sequence + 1, what=f"missing up to {head.sequence}: the end is cut off")
        elif self.sequence > head.sequence:
            yield Fault(sequence=head.sequence + 1, what="stands behind the head")
        elif self.hash != head.hash:
            yield Fault(sequence=self.sequence, what="is not the one that the head names")


def chained(previous: Head, now: datetime, **fields: Any) -> AuditRecord:
    """The record that follows the head, its hash computed."""
    draft = AuditRecord(
        chain=previous.chain, sequence=previous.sequence + 1, at=now, previous=previous.hash, hash="", **fields
    )
    return draft.model_copy(update={"hash": draft.computed})
