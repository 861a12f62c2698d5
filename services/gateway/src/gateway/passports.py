"""Passports: who asks, signed by the gateway for one request or job."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from gateway.records import Principal
from sluice.access import Level, Passport, PassportSigner, Right
from sluice.messages import Message, digest_of
from sluice.tracing import current_traceparent

SLACK = timedelta(minutes=10)
"""How long a passport outlives its deadline, so that what is late can still be told."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Whom a passport is made for, and what it is good for."""

    tenant: str
    subject: str
    clearance: Level
    rights: frozenset[Right]
    single_level: bool = False

    @classmethod
    def of(cls, principal: Principal, right: Right) -> Self:
        """Who acts, with the one right that it takes, if they have it now, and none of their others."""
        slug, rights = principal.tenant.slug, principal.rights & {right}
        return cls(tenant=slug, subject=principal.id, clearance=principal.clearance, rights=rights)

    @classmethod
    def system(cls, work: str, tenant: str, level: Level, *rights: Right) -> Self:
        """The system, for what nobody who is there now asks for."""
        return cls(tenant=tenant, subject=f"system:{work}", clearance=level, rights=frozenset(rights))


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What is to be done for someone: its id, the streams that it travels, and when it is given up."""

    holder: Holder
    job: str
    kinds: Sequence[type[Message]]
    deadline: datetime
    bound: dict[str, Any]
    traceparent: str | None = None

    def passport(self) -> Passport:
        return Passport(
            tenant=self.holder.tenant,
            subject=self.holder.subject,
            clearance=self.holder.clearance,
            rights=self.holder.rights,
            job=self.job,
            asked=digest_of(self.kinds[0], **self.bound),
            streams=tuple(kind.stream for kind in self.kinds),
            issued_at=datetime.now(UTC),
            expires_at=self.deadline + SLACK,
            single_level=self.holder.single_level,
        )

    def envelope(self, signer: PassportSigner) -> dict[str, Any]:
        """The fields that each of its messages begins with."""
        return {
            "request_id": self.job,
            "tenant": self.holder.tenant,
            "passport": signer.sign(self.passport()),
            "deadline": self.deadline,
            "traceparent": self.traceparent or current_traceparent(),
        }
