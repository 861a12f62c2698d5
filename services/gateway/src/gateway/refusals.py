"""Passports that workers refused, for the audit log."""

import hashlib
from datetime import UTC, datetime

from gateway.ports import AuditLog
from gateway.records import AuditEntry
from sluice.messages import PassportRefused
from sluice.topology import GROUPS

_A_MINUTE = 16
"""At most, for one stream and reason: whoever forges by the thousand makes no thousand records."""


async def record_refusal(audit: AuditLog, refused: PassportRefused, now: datetime) -> None:
    """Takes a hint, which anyone could have sent: one that names no stream of ours is dropped."""
    if refused.refused_on not in GROUPS:
        return
    await audit.record(
        AuditEntry(
            tenant_id=None,
            actor=GROUPS[refused.refused_on],
            action="passport.refused",
            target=refused.refused_on,
            detail={"reason": refused.reason, "message_id": refused.message_id},
            once=_bounded_name(refused, now),
        )
    )


def _bounded_name(refused: PassportRefused, now: datetime) -> str:
    """Names that are the same for all but a bounded number of hints a minute."""
    bucket = hashlib.sha256(refused.message_id.encode()).digest()[0] % _A_MINUTE
    minute = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M")
    return f"passport.refused {refused.refused_on} {refused.reason} {minute} {bucket}"
