"""One-time links: invitations, new passwords, and signing up. The token is told once, and its hash is kept."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.arrivals import Link, Purpose
from gateway.errors import InvalidInputError, NotFoundError, NotSetUpError
from gateway.login import Session, begin_session, forget_failures
from gateway.mails import mail_of
from gateway.people import People, may_grant, of_address
from gateway.ports import Accounts, AuditLog, Links, Passwords, Post
from gateway.records import AuditEntry, Person, Tenant
from gateway.tokens import fingerprint, new_id, new_token
from sluice.access import Level, Right, clearance_of, normalise_email

_LASTS = {
    Purpose.INVITATION: timedelta(hours=72),
    Purpose.RESET: timedelta(hours=2),
    Purpose.SIGN_UP: timedelta(hours=24),
}
_MAILS_AN_HOUR = 3
"""To one address."""
_SIGN_UPS_AN_HOUR = 200
"""Of one tenant."""
_HOUR = timedelta(hours=1)
_USED_UP = "this link is used up, or too old: ask for a new one"


@dataclass(frozen=True, kw_only=True)
class NewLink:
    """`url` is told this once."""

    url: str
    purpose: Purpose
    expires_at: datetime
    mailed: bool


@dataclass(frozen=True, kw_only=True)
class OneTimeLinks:
    """`page` is where browsers find it; without a `post` nothing is mailed."""

    people: People
    accounts: Accounts
    links: Links
    passwords: Passwords
    audit: AuditLog
    post: Post | None
    page: str
    session: timedelta

    async def invite(
        self, by: Person | None, tenant: Tenant, email: str, rights: frozenset[Right], *, mail: bool
    ) -> tuple[Person, NewLink]:
        """Adds a person who chooses their password by the link; `by` None is the operator. Raises as People.add does.

        Raises:
            NotSetUpError: there is no mail server to mail it by.
        """
        self._can(mail=mail)
        person = (await self.people.add(by, tenant, email, rights)).person
        return person, await self._made(by, person, Purpose.INVITATION, mail=mail)

    async def renew(self, by: Person, person_id: str, *, mail: bool) -> NewLink:
        """For somebody who is there: an invitation if they never chose a password, else to choose another.

        Raises:
            NotFoundError: no such person.
            AccessDeniedError: they have a right or a clearance that `by` has not.
            NotSetUpError: there is no mail server to mail it by.
        """
        self._can(mail=mail)
        person = await self.people.find(by, person_id)
        may_grant(by, person, person.rights)
        waits = any(
            each.one_time for each in await self.accounts.credentials(person.email) if each.person.id == person.id
        )
        return await self._made(by, person, Purpose.INVITATION if waits else Purpose.RESET, mail=mail)

    async def look(self, token: str) -> tuple[Link, Tenant]:
        """What the link is for; it stays good. Raises NotFoundError: it is not."""
        link = await self.links.find(fingerprint(token))
        tenant = await self._good(link)
        assert link is not None
        return link, tenant

    async def use(self, token: str, new_password: str) -> Session:
        """Sets the password of whose link it is, and signs them in. Raises NotFoundError: it is not good."""
        await self._good(await self.links.find(fingerprint(token)))
        password_hash = await self.passwords.hash(new_password)
        async with self.audit.together():
            link = await self.links.take(fingerprint(token))
            tenant = await self._good(link)
            assert link is not None
            person = await self._person(link, tenant)
            await self.accounts.set_password(person.id, password_hash)
            await self._note(person.id, "person.password-changed", person, by=link.purpose)
        await forget_failures(self.accounts, person.email)
        return await begin_session(self.accounts, self.audit, person, self.session, by=f"link ({link.purpose})")

    def forgotten(self, email: str, tenant: str | None) -> None:
        """Mails a link to whoever has the address. Nothing tells the caller whether somebody does.

        Raises:
            NotSetUpError: there is no mail server.
        """
        self._later(lambda: self._mail_resets(email, tenant))

    async def sign_up(self, email: str, slug: str) -> None:
        """Mails a link by which somebody becomes an EXTERNAL person who may read.

        Raises:
            NotFoundError: the tenant is not open to that, or not there.
            InvalidInputError: no address, or one of the tenant's own people, who are invited.
            NotSetUpError: there is no mail server.
        """
        tenant = await self.accounts.tenant(slug)
        if tenant is None or tenant.suspended_at is not None or tenant.sign_up != "open":
            raise NotFoundError("nobody can sign up here: ask to be invited")
        email = of_address(email)
        if clearance_of(email, tenant.internal_domains, verified=True) is Level.INTERNAL:
            raise InvalidInputError("email", "is of the company's own people, whom an admin invites")
        self._later(lambda: self._mail_sign_up(email, tenant))

    async def open_sign_up(self, by: Person, *, opened: bool) -> Tenant:
        """Raises NotSetUpError: there is no mail server, so nobody could sign up."""
        self._can(mail=opened)
        setting = "open" if opened else "closed"
        async with self.audit.together():
            await self.accounts.set_sign_up(by.tenant.id, setting)
            await self._note(by.id, "tenant.changed", by, sign_up=setting)
        tenant = await self.accounts.tenant_of(by.tenant.id)
        assert tenant is not None
        return tenant

    async def _good(self, link: Link | None) -> Tenant:
        """The link's tenant. A link to an address that its person has no more is not good."""
        tenant = await self.accounts.tenant_of(link.tenant_id) if link and not link.over else None
        if link is None or tenant is None or tenant.suspended_at is not None:
            raise NotFoundError(_USED_UP)
        if link.person_id is not None:
            person = await self.accounts.person(link.person_id)
            if person is None or not person.active or person.email != link.email:
                raise NotFoundError(_USED_UP)
        elif tenant.sign_up != "open":
            raise NotFoundError(_USED_UP)
        return tenant

    async def _person(self, link: Link, tenant: Tenant) -> Person:
        """Whose link it is; who signs up is made now. Raises ConflictError: somebody has the address since."""
        if link.person_id is not None:
            person = await self.accounts.person(link.person_id)
            assert person is not None
            return person
        person = Person(
            id=new_id(),
            tenant=tenant,
            email=link.email,
            email_verified=True,
            rights=frozenset({Right.READ}),
            created_at=datetime.now(UTC),
        )
        await self.accounts.add_person(person, "", one_time=False)
        await self._note(person.id, "person.joined", person, by=link.purpose)
        return person

    async def _made(self, by: Person | None, person: Person, purpose: Purpose, *, mail: bool) -> NewLink:
        url, link = await self._kept(purpose, person.tenant, person.email, person.id, alone=True)
        actor = by.id if by else "operator"
        await self._note(actor, "link.made", person, purpose=purpose, mailed=mail)
        if mail:
            self._later(lambda: self._mail(link, person.tenant, url))
        return NewLink(url=url, purpose=purpose, expires_at=link.expires_at, mailed=mail)

    async def _kept(
        self, purpose: Purpose, tenant: Tenant, email: str, person_id: str | None, *, alone: bool = False
    ) -> tuple[str, Link]:
        """Not alone when anybody may have asked for it: they could end the links that an admin made."""
        token = new_token()
        link = Link(
            token_sha256=fingerprint(token),
            purpose=purpose,
            tenant_id=tenant.id,
            person_id=person_id,
            email=email,
            expires_at=datetime.now(UTC) + _LASTS[purpose],
        )
        await self.links.add(link, alone=alone)
        return f"{self.page}/link?token={token}", link

    async def _mail_resets(self, email: str, slug: str | None) -> None:
        try:
            email = normalise_email(email)
        except ValueError:
            return
        for found in await self.accounts.credentials(email):
            person = found.person
            has_password = bool(found.password_hash)  # else they come from an issuer, which may have shut them out
            if has_password and person.active and person.email_verified and slug in (None, person.tenant.slug):
                await self._mail_reset(person)

    async def _mail_reset(self, person: Person) -> None:
        if await self._too_many(f"mail {person.tenant.id} {person.email}", _MAILS_AN_HOUR):
            return
        url, link = await self._kept(Purpose.RESET, person.tenant, person.email, person.id)
        await self._note("nobody", "link.made", person, purpose=Purpose.RESET, mailed=True)
        await self._mail(link, person.tenant, url)

    async def _mail_sign_up(self, email: str, tenant: Tenant) -> None:
        """Who is there already is mailed how to come in again."""
        if any(each.person.tenant.id == tenant.id for each in await self.accounts.credentials(email)):
            await self._mail_resets(email, tenant.slug)
            return
        if await self._too_many(f"sign-up {tenant.id}", _SIGN_UPS_AN_HOUR):
            return
        if await self._too_many(f"mail {tenant.id} {email}", _MAILS_AN_HOUR):
            return
        url, link = await self._kept(Purpose.SIGN_UP, tenant, email, None)
        await self._mail(link, tenant, url)

    async def _too_many(self, what: str, most: int) -> bool:
        tries, _ = await self.accounts.count_attempt(fingerprint(what), datetime.now(UTC) + _HOUR)
        return tries > most

    async def _mail(self, link: Link, tenant: Tenant, url: str) -> None:
        assert self.post is not None
        subject, text = mail_of(link, tenant, url)
        await self.post.send(link.email, subject, text)

    def _later(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._can(mail=True)
        assert self.post is not None
        self.post.later(work())

    def _can(self, *, mail: bool) -> None:
        if mail and self.post is None:
            raise NotSetUpError("there is no mail server: the operator sets SLUICE_SMTP_URL")

    async def _note(self, actor: str, action: str, person: Person, **detail: object) -> None:
        await self.audit.record(
            AuditEntry(tenant_id=person.tenant.id, actor=actor, action=action, target=person.id, detail=detail)
        )
