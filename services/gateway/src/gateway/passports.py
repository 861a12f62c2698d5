"""Passports: who asks, signed by the gateway for one request or job."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.records import Person
from sluice.access import Passport, PassportSigner
from sluice.messages import Message, digest_of

_SLACK = timedelta(minutes=10)
"""How long a passport outlives its deadline, so that what is late can still be told."""


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What a person wants done: its id, the streams that it travels, and when it is given up."""

    person: Person
    job: str
    kinds: Sequence[type[Message]]
    deadline: datetime
    bound: dict[str, Any]

    def passport(self) -> Passport:
        return Passport(
            tenant=self.person.tenant.slug,
            subject=self.person.id,
            clearance=self.person.clearance,
            rights=self.person.rights,
            job=self.job,
            asked=digest_of(self.kinds[0], **self.bound),
            streams=tuple(kind.stream for kind in self.kinds),
            issued_at=datetime.now(UTC),
            expires_at=self.deadline + _SLACK,
        )

    def envelope(self, signer: PassportSigner) -> dict[str, Any]:
        """The fields that each of its messages begins with."""
        return {
            "request_id": self.job,
            "tenant": self.person.tenant.slug,
            "passport": signer.sign(self.passport()),
            "deadline": self.deadline,
        }
