"""API keys: made by an admin for a program of their tenant, rotated, and known again by their digest."""

import base64
import hmac
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from gateway.errors import ConflictError, InvalidInputError, NotFoundError
from gateway.ports import ApiKeys, AuditLog
from gateway.records import ApiKey, AuditEntry, Page, Person, SealedDigests
from sluice.access import Level, Right
from sluice.errors import AccessDeniedError
from sluice.offers import key_digest, key_id_of, new_api_key, new_secret_of
from sluice.sealing import Keyring

GRANTABLE = frozenset({Right.READ, Right.UPLOAD})
"""All that a program can do over HTTP or by offers; the rest is for people."""


@dataclass(frozen=True, kw_only=True)
class NewKey:
    """A key, and its text that is told this once."""

    key: ApiKey
    text: str


_NOTE_USE_EACH = timedelta(minutes=1)


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
            granted=rights,
            ceiling=clearance,
            created_by=by.id,
            maker=by,
            created_at=datetime.now(UTC),
            expires_at=expires_at,
        )
        async with self.audit.together():
            await self.keys.add(key, self._sealed(key, text))
            await self._note(by, "key.made", key, rights=sorted(rights), clearance=clearance)
        return NewKey(key=key, text=text)

    async def page(self, by: Person, page: Page) -> list[ApiKey]:
        return await self.keys.keys(by.tenant.id, page)

    async def revoke(self, by: Person, key_id: str) -> None:
        """Ends a key for good; doing it again changes nothing. Raises NotFoundError, also for another tenant's."""
        key, _ = await self._managed(by, key_id)
        if key.revoked_at is None:
            async with self.audit.together():
                await self.keys.revoke(key_id, datetime.now(UTC))
                await self._note(by, "key.revoked", key)

    async def rotate(self, by: Person, key_id: str, overlap: timedelta) -> NewKey:
        """Gives a key a new secret; the one before is good for the overlap, and none before that any more.

        Raises:
            NotFoundError: there is no such key, or it is another tenant's.
            AccessDeniedError: it was given a right or a clearance that `by` has not.
            ConflictError: it was revoked or has expired, its maker is gone, or somebody else rotates it.
        """
        key, sealed = await self._managed(by, key_id)
        if missing := sorted(key.granted - by.rights):
            raise AccessDeniedError(f"you cannot be told a key with rights that you have not: {', '.join(missing)}")
        if not key.active:
            raise ConflictError("the key may not act any more: make a new one")
        text, until = new_secret_of(key.id), datetime.now(UTC) + overlap if overlap else None
        after = SealedDigests(self._sealed(key, text), sealed.present if until else None)
        async with self.audit.together():
            if not await self.keys.rotate(key.id, sealed, after, until):
                raise ConflictError("the key was changed meanwhile: look at it again")
            await self._note(by, "key.rotated", key, overlap_seconds=int(overlap.total_seconds()))
        return NewKey(key=replace(key, previous_until=until), text=text)

    async def bearer(self, text: str) -> ApiKey | None:
        """Whose key it is, if that may still act; its use is noted."""
        key = await self.still(key_id_of(text) or "", key_digest(text))
        if key is not None:
            await self.note_use(key)
        return key

    async def still(self, key_id: str, digest: bytes) -> ApiKey | None:
        """The key as it is now, if it may still act and the digest is that of a secret that is good."""
        found = await self.with_digests(key_id)
        if found is None or not any(hmac.compare_digest(good, digest) for good in found[1]):
            return None
        return found[0] if found[0].active else None

    async def with_digests(self, key_id: str) -> tuple[ApiKey, list[bytes]] | None:
        """A key, also one that may not act any more, and the digests that prove it."""
        found = await self.keys.key(key_id)
        if found is None:
            return None
        key, sealed = found
        good = [sealed.present]
        if sealed.previous and key.previous_until and key.previous_until > datetime.now(UTC):
            good.append(sealed.previous)
        return key, [self._opened(key, each) for each in good]

    async def note_use(self, key: ApiKey) -> None:
        """At most once a minute."""
        now = datetime.now(UTC)
        if key.last_used_at is None or now - key.last_used_at >= _NOTE_USE_EACH:
            await self.keys.used(key.id, now)

    async def _managed(self, by: Person, key_id: str) -> tuple[ApiKey, SealedDigests]:
        found = await self.keys.key(key_id)
        if found is None or found[0].tenant.id != by.tenant.id:
            raise NotFoundError("there is no such key")
        if by.clearance < found[0].ceiling:
            raise AccessDeniedError(f"a key of clearance {found[0].ceiling} is for people of that clearance to manage")
        return found

    def _sealed(self, key: ApiKey, text: str) -> str:
        sealed = self.keyring.seal(key_digest(text), tenant=key.tenant.slug, level=key.ceiling, row_id=_row_id(key.id))
        return base64.b64encode(sealed).decode()

    def _opened(self, key: ApiKey, sealed: str) -> bytes:
        return self.keyring.open(
            base64.b64decode(sealed), tenant=key.tenant.slug, level=key.ceiling, row_id=_row_id(key.id)
        )

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
