"""API keys: made by an admin for a program of their tenant, and known again by their digest."""

import base64
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.errors import InvalidInputError, NotFoundError
from gateway.ports import ApiKeys, AuditLog
from gateway.records import ApiKey, AuditEntry, Page, Person
from sluice.access import Level, Right
from sluice.errors import AccessDeniedError
from sluice.offers import key_digest, key_id_of, new_api_key
from sluice.sealing import Keyring

GRANTABLE = frozenset({Right.READ, Right.UPLOAD})
"""All that a program can do over HTTP or by offers; the rest is for people."""


@dataclass(frozen=True, kw_only=True)
class NewKey:
    """A key, and its text that is told this once."""

    key: ApiKey
    text: str


@dataclass(frozen=True, kw_only=True)
class Keys:
    keys: ApiKeys
    keyring: Keyring
    audit: AuditLog

    async def make(
        self, by: Person, name: str, rights: frozenset[Right], clearance: Level, expires_at: datetime | None
    ) -> NewKey:
        """
        Raises:
            AccessDeniedError: a right or a clearance that `by` has not.
            InvalidInputError: a right that no key has, or a time that is over.
        """
        _may_make(by, rights, clearance, expires_at)
        key_id, text = new_api_key()
        key = ApiKey(
            id=key_id,
            tenant=by.tenant,
            name=name,
            rights=rights,
            clearance=clearance,
            created_by=by.id,
            created_at=datetime.now(UTC),
            expires_at=expires_at,
        )
        sealed = self.keyring.seal(
            key_digest(text), tenant=key.tenant.slug, level=key.clearance, row_id=_row_id(key.id)
        )
        async with self.audit.together():
            await self.keys.add(key, base64.b64encode(sealed).decode())
            await self._note(by, "key.made", key, rights=sorted(rights), clearance=clearance)
        return NewKey(key=key, text=text)

    async def page(self, by: Person, page: Page) -> list[ApiKey]:
        return await self.keys.keys(by.tenant.id, page)

    async def revoke(self, by: Person, key_id: str) -> None:
        """Ends a key for good; doing it again changes nothing. Raises NotFoundError, also for another tenant's."""
        found = await self.keys.key(key_id)
        if found is None or found[0].tenant.id != by.tenant.id:
            raise NotFoundError("there is no such key")
        if by.clearance < found[0].clearance:
            raise AccessDeniedError(
                f"a key of clearance {found[0].clearance} is for people of that clearance to manage"
            )
        if found[0].revoked_at is None:
            async with self.audit.together():
                await self.keys.revoke(key_id, datetime.now(UTC))
                await self._note(by, "key.revoked", found[0])

    async def bearer(self, text: str) -> ApiKey | None:
        """Whose key it is, if that may still act."""
        found = await self.with_digest(key_id_of(text) or "")
        if found is None or not hmac.compare_digest(found[1], key_digest(text)):
            return None
        return found[0] if found[0].active else None

    async def still(self, key_id: str) -> ApiKey | None:
        """The key as it is now, if it may still act."""
        found = await self.keys.key(key_id)
        return found[0] if found and found[0].active else None

    async def with_digest(self, key_id: str) -> tuple[ApiKey, bytes] | None:
        """A key, also one that may not act any more, and the digest that proves it."""
        found = await self.keys.key(key_id)
        if found is None:
            return None
        key, sealed = found
        digest = self.keyring.open(
            base64.b64decode(sealed), tenant=key.tenant.slug, level=key.clearance, row_id=_row_id(key.id)
        )
        return key, digest

    async def _note(self, by: Person, action: str, key: ApiKey, **detail: object) -> None:
        detail = {"name": key.name, **detail}
        await self.audit.record(
            AuditEntry(tenant_id=key.tenant.id, actor=by.id, action=action, target=key.id, detail=detail)
        )


def _may_make(by: Person, rights: frozenset[Right], clearance: Level, expires_at: datetime | None) -> None:
    if foreign := sorted(rights - GRANTABLE):
        raise InvalidInputError("rights", f"a key has no use for {', '.join(foreign)}: {', '.join(sorted(GRANTABLE))}")
    if missing := sorted(rights - by.rights):
        raise AccessDeniedError(f"you cannot grant what you have not: {', '.join(missing)}")
    if by.clearance < clearance:
        raise AccessDeniedError(f"you cannot grant the clearance {clearance}, which you have not")
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise InvalidInputError("expires_at", "must be in the future")


def _row_id(key_id: str) -> str:
    return f"api-keys/{key_id}"
