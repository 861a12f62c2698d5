"""What was refused, for the audit log: passports by workers, requests by the gateway."""

import hashlib
from datetime import UTC, datetime

from gateway.ports import AuditLog
from gateway.records import AuditEntry, Principal
from sluice.errors import SluiceError
from sluice.messages import PassportRefused
from sluice.topology import GROUPS

_A_MINUTE = 16
"""At most, of one kind: whoever forges or guesses by the thousand makes no thousand records."""


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
            once=_bounded("passport.refused", f"{refused.refused_on} {refused.reason}", refused.message_id, now),
        )
    )


async def record_denial(audit: AuditLog, principal: Principal, request: str, error: SluiceError, now: datetime) -> None:
    """A person or program asked for what is not theirs, or not there, which look the same. `request`: method and path.

    A bounded number a minute of each status, for whoever tries by the thousand.
    """
    await audit.record(
        AuditEntry(
            tenant_id=principal.tenant.id,
            actor=principal.id,
            action="request.refused",
            target=request,
            detail={"status": int(error.status), "reason": error.type, "clearance": principal.clearance},
            once=_bounded("request.refused", f"{principal.id} {int(error.status)}", request, now),
        )
    )


def _bounded(action: str, kind: str, what: str, now: datetime) -> str:
    """Names that are the same for all but a bounded number a minute."""
    bucket = hashlib.sha256(what.encode()).digest()[0] % _A_MINUTE
    return f"{action} {kind} {now.astimezone(UTC):%Y-%m-%dT%H:%M} {bucket}"
