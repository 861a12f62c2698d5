"""What the retriever gave for a question, for the audit log."""

import logging
from typing import Any

from gateway.errors import NotFoundError
from gateway.ports import Accounts, AuditLog
from gateway.records import AuditEntry
from sluice.access import Passport
from sluice.messages import RetrievalRecorded

logger = logging.getLogger(__name__)


async def record_retrieval(accounts: Accounts, audit: AuditLog, message: RetrievalRecorded, passport: Passport) -> None:
    """Tenant and clearance are the passport's; of what the retriever tells beside, what lies outside is marked.

    Raises:
        NotFoundError: the passport's tenant is gone.
    """
    tenant = await accounts.tenant(passport.tenant)
    if tenant is None:
        raise NotFoundError("the tenant of this retrieval is gone")
    scope = passport.scope
    outside = [p.passage_id for p in message.passages if p.access_level not in scope.levels]
    outside += [name for name in message.collections if name.partition(".")[0] != scope.tenant]
    detail: dict[str, Any] = {
        "run": message.run,
        "scope": {
            "tenant": scope.tenant,
            "clearance": scope.clearance,
            "levels": list(scope.levels),
            "collections": list(message.collections),
        },
        "passages": [passage.model_dump(mode="json") for passage in message.passages],
        "restoring": message.restoring,
    }
    if outside:
        logger.critical("audit.outside-scope", extra={"count": len(outside)})
        detail["outside_scope"] = outside
    await audit.record(
        AuditEntry(
            tenant_id=tenant.id,
            actor=passport.subject,
            action="passages.retrieved",
            target=message.request_id,
            detail=detail,
            once=f"retrieved {message.message_id}",
            passages=tuple((passage.passage_id, passage.document_id) for passage in message.passages),
        )
    )
