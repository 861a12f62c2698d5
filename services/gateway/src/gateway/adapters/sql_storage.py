"""What a tenant's files weigh, in SQL."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import StorageFullError
from gateway.models import documents, tenants
from gateway.records import DocumentState


async def check_storage(connection: AsyncConnection, tenant_id: str, more: int, limit: int) -> None:
    """In a transaction that writes nobody else of the tenant is let in before it ends. Raises StorageFullError."""
    if not limit or more <= 0:
        return
    await connection.execute(select(tenants.c.id).where(tenants.c.id == tenant_id).with_for_update(key_share=True))
    live = (documents.c.tenant_id == tenant_id, documents.c.state != DocumentState.DELETING)
    total = select(func.coalesce(func.sum(documents.c.size), 0)).where(*live)
    used = int((await connection.execute(total)).scalar_one())
    if used + more > limit:
        raise StorageFullError(
            f"your organisation's documents have {used} bytes, at most {limit} may be, and this would add {more}:"
            " delete some first"
        )
