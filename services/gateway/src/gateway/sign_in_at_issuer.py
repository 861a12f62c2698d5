"""Signing in at an OpenID Connect issuer: people are known by issuer and subject, never by their address."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from gateway.arrivals import Asserted, Handshake, Link
from gateway.errors import ConflictError, LoginRefusedError, NotFoundError, TenantNeededError
from gateway.issuers import Issuer
from gateway.login import DEFAULT_TENANT, FAILED, Session, begin_session
from gateway.ports import Accounts, AuditLog, Identities, Links, Provider
from gateway.records import AuditEntry, Person, Tenant
from gateway.tokens import fingerprint, new_id, new_token
from sluice.access import Right, normalise_email

_LASTS = timedelta(minutes=10)
_JOINED = frozenset({Right.READ})


@dataclass(frozen=True, kw_only=True)
class Begun:
    authorization_url: str
    expires_in: int


@dataclass(frozen=True, kw_only=True)
class SignInAtIssuer:
    """`issuers` and their `providers` by name."""

    issuers: Mapping[str, Issuer]
    providers: Mapping[str, Provider]
    accounts: Accounts
    identities: Identities
    links: Links
    audit: AuditLog
    session: timedelta

    def of(self, tenant: str | None) -> list[Issuer]:
        """Those that people of the tenant may come from; without a tenant, all."""
        return [issuer for issuer in self.issuers.values() if tenant is None or tenant in issuer.tenants]

    async def begin(self, name: str, *, tenant: str | None, link: str | None, binding_sha256: str) -> Begun:
        """Where to send the browser that keeps what `binding_sha256` is the hash of.

        Raises:
            NotFoundError: no such issuer, or not for this tenant, or the link is not good.
            TransientError: the issuer does not answer.
        """
        issuer = self.issuers.get(name)
        found = await self._link(fingerprint(link)) if link is not None else None
        if issuer is None or (link is not None and found is None):
            raise NotFoundError("there is no such way to sign in")
        meant = await self._meant(issuer, tenant, found)
        handshake = Handshake(
            issuer=name,
            tenant_id=meant.id if meant else None,
            link_sha256=found.token_sha256 if found else None,
            nonce=new_token(),
            code_verifier=new_token() + new_token(),
            binding_sha256=binding_sha256,
            expires_at=datetime.now(UTC) + _LASTS,
        )
        state = new_token()
        url = await self.providers[name].authorization_url(handshake, state)
        await self.identities.begin(fingerprint(state), handshake)
        return Begun(authorization_url=url, expires_in=int(_LASTS.total_seconds()))

    async def finish(self, name: str, *, state: str, binding: str, code: str, iss: str | None) -> Session:
        """Opens the session of who came back from the issuer.

        Raises:
            LoginRefusedError: begun elsewhere or too long ago, the token is not good, or they have no place here.
            TenantNeededError: several tenants could be meant.
            TransientError: the issuer does not answer.
        """
        handshake = await self.identities.take(fingerprint(state))
        if handshake is None or handshake.over or handshake.issuer != name or name not in self.issuers:
            raise LoginRefusedError("this sign-in was not begun here, or too long ago: begin again")
        if not hmac.compare_digest(fingerprint(binding), handshake.binding_sha256):
            raise LoginRefusedError("this sign-in was begun in another browser: begin again")
        issuer = self.issuers[name]
        try:
            if iss is not None and iss != issuer.issuer:
                raise LoginRefusedError("the answer is another issuer's: begin again")
            asserted = await self.providers[name].redeem(handshake, code)
        except LoginRefusedError:
            await self._note_failure(issuer, handshake.tenant_id, "token", each=False)
            raise
        person = await self._person(issuer, handshake, asserted)
        if not person.active:
            raise await self._refuse(issuer, person.tenant, "suspended", "this account cannot sign in: ask an admin")
        return await begin_session(self.accounts, self.audit, person, self.session, by=issuer.name)

    async def _meant(self, issuer: Issuer, slug: str | None, link: Link | None) -> Tenant | None:
        """By the link, else as it was named, else the issuer's only one."""
        if link is not None:
            tenant = await self.accounts.tenant_of(link.tenant_id)
        elif slug is not None or len(issuer.tenants) == 1:
            tenant = await self.accounts.tenant(slug or issuer.tenants[0])
        else:
            return None
        if tenant is None or tenant.slug not in issuer.tenants:
            raise NotFoundError("there is no such way to sign in")
        return tenant

    async def _link(self, token_sha256: str) -> Link | None:
        """One that is good, and somebody's."""
        link = await self.links.find(token_sha256)
        return link if link and not link.over and link.person_id is not None else None

    async def _person(self, issuer: Issuer, handshake: Handshake, asserted: Asserted) -> Person:
        known = [p for p in await self._known(asserted) if p.tenant.slug in issuer.tenants]
        tenant = await self._tenant(handshake, known)
        mine = next((person for person in known if person.tenant.id == tenant.id), None)
        if mine is not None:
            return await self._as_told(issuer, mine, asserted)
        email, verified = _address(asserted)
        if handshake.link_sha256 is not None:
            invited = await self._invited(issuer, tenant, handshake.link_sha256, email if verified else "")
            return await self._connected(issuer, invited, asserted, link_sha256=handshake.link_sha256)
        if found := await self._added(tenant, email):
            person, waits = found
            if not (verified and waits and person.active) or await self.identities.of(person.id):
                if racing := await self._in(tenant, asserted):
                    return racing
                why = "there is an account with this address: sign in with its password, or ask an admin for a link"
                raise await self._refuse(issuer, tenant, "account exists", why)
            return await self._connected(issuer, person, asserted)
        if not issuer.may_join or tenant.suspended_at is not None:
            raise await self._refuse(issuer, tenant, "not invited", "you have no account here: ask an admin")
        return await self._joined(issuer, tenant, asserted)

    async def _known(self, asserted: Asserted) -> list[Person]:
        return await self.identities.known(asserted.issuer, asserted.subject)

    async def _in(self, tenant: Tenant, asserted: Asserted) -> Person | None:
        """Who they are in the tenant, also when another request made them at this moment."""
        return next((person for person in await self._known(asserted) if person.tenant.id == tenant.id), None)

    async def _tenant(self, handshake: Handshake, known: list[Person]) -> Tenant:
        """The one that was meant; else the default one if they are known there, else the only one."""
        if handshake.tenant_id is not None:
            tenant = await self.accounts.tenant_of(handshake.tenant_id)
            if tenant is None:
                raise LoginRefusedError("this sign-in is for a tenant that is gone")
            return tenant
        by_slug = {person.tenant.slug: person.tenant for person in known}
        if DEFAULT_TENANT in by_slug or len(by_slug) == 1:
            return by_slug.get(DEFAULT_TENANT) or next(iter(by_slug.values()))
        raise TenantNeededError("say which tenant you want to sign in to, and sign in again")

    async def _as_told(self, issuer: Issuer, person: Person, asserted: Asserted) -> Person:
        """With the address of now. Rights that were given to another address are not kept, but for reading."""
        email, verified = _address(asserted)
        if not person.active or (email, verified) == (person.email, person.email_verified):
            return person
        changed = replace(person, email=email, email_verified=verified, rights=person.rights & _JOINED)
        try:
            async with self.audit.together():
                await self.identities.set_address(changed)
                kept = sorted(changed.rights)
                await self.audit.record(
                    _entry(person, "person.address-changed", by=issuer.name, verified=verified, rights=kept)
                )
        except ConflictError as error:
            why = "somebody else here has the address that you have now: ask an admin"
            raise await self._refuse(issuer, person.tenant, "address taken", why) from error
        return changed

    async def _invited(self, issuer: Issuer, tenant: Tenant, link_sha256: str, verified: str) -> Person:
        """Whose link it is, if the issuer vouches for the address that the link was made for."""
        link = await self._link(link_sha256)
        person = await self.accounts.person(link.person_id) if link and link.person_id else None
        if person is None or person.tenant.id != tenant.id or verified != person.email:
            why = "this link is used up, or for another address than the one that you signed in with"
            raise await self._refuse(issuer, tenant, "link", why)
        return person

    async def _added(self, tenant: Tenant, email: str) -> tuple[Person, bool] | None:
        """Who has the address, and whether they still wait to choose a first password."""
        found = [each for each in await self.accounts.credentials(email) if each.person.tenant.id == tenant.id]
        return (found[0].person, found[0].one_time) if found else None

    async def _connected(
        self, issuer: Issuer, person: Person, asserted: Asserted, *, link_sha256: str | None = None
    ) -> Person:
        """From now on; a one-time password that waited to be replaced is good for nothing any more."""
        added = await self._added(person.tenant, person.email)
        try:
            async with self.audit.together():
                if link_sha256 is not None and await self.links.take(link_sha256) is None:
                    raise ConflictError("the link is used up")
                await self.identities.connect(person, asserted, datetime.now(UTC))
                if added and added[1]:
                    await self.accounts.set_password(person.id, "")
                await self.audit.record(_entry(person, "person.connected", by=issuer.name))
        except ConflictError as error:
            raise await self._refuse(issuer, person.tenant, "account exists", str(error)) from error
        return person

    async def _joined(self, issuer: Issuer, tenant: Tenant, asserted: Asserted) -> Person:
        """Whoever came first of those who race made the person of all."""
        email, verified = _address(asserted)
        now = datetime.now(UTC)
        person = Person(
            id=new_id(), tenant=tenant, email=email, email_verified=verified, rights=_JOINED, created_at=now
        )
        try:
            async with self.audit.together():
                await self.accounts.add_person(person, "", one_time=False)
                await self.identities.connect(person, asserted, now)
                await self.audit.record(_entry(person, "person.joined", by=issuer.name, verified=verified))
        except ConflictError:
            if racing := await self._in(tenant, asserted):
                return racing
            raise
        return person

    async def _refuse(self, issuer: Issuer, tenant: Tenant, reason: str, why: str) -> LoginRefusedError:
        await self._note_failure(issuer, tenant.id, reason)
        return LoginRefusedError(why)

    async def _note_failure(self, issuer: Issuer, tenant_id: str | None, reason: str, *, each: bool = True) -> None:
        """What anybody can bring about is noted once a minute."""
        once = None if each else f"{FAILED} {datetime.now(UTC):%Y-%m-%dT%H:%M} {issuer.name}"
        detail = {"reason": reason, "by": issuer.name}
        await self.audit.record(
            AuditEntry(
                tenant_id=tenant_id, actor="nobody", action=FAILED, target="at an issuer", detail=detail, once=once
            )
        )


def _entry(person: Person, action: str, **detail: object) -> AuditEntry:
    return AuditEntry(tenant_id=person.tenant.id, actor=person.id, action=action, target=person.id, detail=detail)


def _address(asserted: Asserted) -> tuple[str, bool]:
    """The address if the issuer vouches for it; else one that is nobody's, so that none can be taken by a claim."""
    if asserted.email_verified:
        try:
            return normalise_email(asserted.email), True
        except ValueError:
            pass
    name = sha256(f"{asserted.issuer}\n{asserted.subject}".encode()).hexdigest()[:32]
    return f"{name}@unverified.invalid", False
