"""Signing in and out."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from gateway.errors import (
    InvalidInputError,
    LoginRefusedError,
    PasswordChangeRequiredError,
    TooManyAttemptsError,
)
from gateway.ports import Accounts, AuditLog, Passwords
from gateway.records import AuditEntry, Credentials, Person
from gateway.tokens import fingerprint, new_token
from sluice.access import normalise_email

DEFAULT_TENANT = "default"
FAILED = "sign-in.failed"
SIGN_INS = (FAILED, "person.signed-in", "sign-in.needs-password")
"""The actions that change nobody."""
_UNKNOWN_DIGITS = 2
"""Of the address's hash, which make 256 records a minute at most."""
_REFUSED_EACH_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class LoginRules:
    session: timedelta
    attempts: int
    window: timedelta
    lock_attempts: int
    """Failures after which an address is locked until the lock's window ends, or an admin lifts it; 0 for never."""
    lock_window: timedelta


@dataclass(frozen=True, kw_only=True)
class Attempt:
    email: str
    password: str
    tenant: str | None
    new_password: str | None


@dataclass(frozen=True, kw_only=True)
class Session:
    token: str
    person: Person
    expires_in: int


async def login(
    accounts: Accounts, passwords: Passwords, audit: AuditLog, rules: LoginRules, attempt: Attempt
) -> Session:
    """Opens a session. That it was, or why not, is in the audit log before it is told.

    Raises:
        TooManyAttemptsError: the address has failed too often; told before the password is looked at.
        LoginRefusedError: unknown address, wrong password or suspended, all alike and after the same time.
        PasswordChangeRequiredError: the password is right but good for choosing a new one only.
        InvalidInputError: the new password is the old one.
    """
    began, email = time.monotonic(), _normalised(attempt.email)
    address = fingerprint(email)
    tries, window_ends = await accounts.count_attempt(address, datetime.now(UTC) + rules.window)
    if tries > rules.attempts:
        await audit.record(_throttled(address, window_ends))
        raise TooManyAttemptsError(f"too many failed logins; try again after {window_ends:%H:%M} UTC")
    locks = await _check_lock(accounts, audit, rules, address)
    found = _choose(await accounts.credentials(email), attempt.tenant)
    matches = await passwords.verify(attempt.password, found.password_hash if found else None)
    if found is None or not matches or not found.person.active:
        await audit.record(_failed(found, address, matches=matches))
        if found is not None and locks is not None:
            await audit.record(_locked(found, locks))
        await _even_out(began)
        raise LoginRefusedError("the address or the password is wrong")
    await _change_password(accounts, passwords, audit, found, attempt)
    await forget_failures(accounts, found.person.email)
    return await begin_session(accounts, audit, found.person, rules.session)


async def begin_session(
    accounts: Accounts, audit: AuditLog, person: Person, lifetime: timedelta, **how: str
) -> Session:
    """For who was found to be the person; `how` stands in the audit log.

    Raises:
        LoginRefusedError: they, or their tenant, were suspended at this moment.
    """
    token = new_token()
    async with audit.together():
        if not await accounts.open_session(fingerprint(token), person.id, datetime.now(UTC) + lifetime):
            raise LoginRefusedError("the address or the password is wrong")
        await audit.record(replace(_by(person, "person.signed-in"), detail=dict(how)))
    return Session(token=token, person=person, expires_in=int(lifetime.total_seconds()))


async def logout(accounts: Accounts, session: str) -> None:
    await accounts.close_session(session)


async def logout_everywhere(accounts: Accounts, audit: AuditLog, person: Person, by: Person) -> None:
    """Ends all sessions of a person, also the one that it is asked in."""
    async with audit.together():
        await accounts.close_sessions(person.id)
        await audit.record(
            AuditEntry(tenant_id=person.tenant.id, actor=by.id, action="person.sessions-ended", target=person.id)
        )


async def forget_failures(accounts: Accounts, email: str) -> None:
    """The address is neither throttled nor locked any more."""
    address = fingerprint(email)
    await accounts.forget_attempts(address)
    await accounts.forget_attempts(lock_of(address))


def lock_of(address: str) -> str:
    """Under which the failures of an address, by its fingerprint, are counted in the longer window."""
    return fingerprint(f"lock {address}")


async def _check_lock(accounts: Accounts, audit: AuditLog, rules: LoginRules, address: str) -> datetime | None:
    """Counts in the longer window: until when the address is locked if this attempt fails too, if it is the last.

    Raises:
        TooManyAttemptsError: it is locked, whether anybody has it or not.
    """
    if not rules.lock_attempts:
        return None
    failures, until = await accounts.count_attempt(lock_of(address), datetime.now(UTC) + rules.lock_window)
    if failures > rules.lock_attempts:
        await audit.record(_throttled(address, until))
        raise TooManyAttemptsError(f"too many failed logins; try again after {until:%H:%M} UTC on {until:%d %B}")
    return until if failures == rules.lock_attempts else None


def _locked(found: Credentials, until: datetime) -> AuditEntry:
    person, detail = found.person, {"until": until.isoformat()}
    return AuditEntry(
        tenant_id=person.tenant.id, actor="nobody", action="person.locked", target=person.id, detail=detail
    )


async def _even_out(began: float) -> None:
    """To the next half second, so that nobody sees by the time whose record was written, and where."""
    await asyncio.sleep(_REFUSED_EACH_SECONDS - (time.monotonic() - began) % _REFUSED_EACH_SECONDS)


def _normalised(email: str) -> str:
    """An address that cannot be is looked up all the same, so that it takes as long as any other."""
    try:
        return normalise_email(email)
    except ValueError:
        return email.lower()


def _choose(found: Sequence[Credentials], tenant: str | None) -> Credentials | None:
    """Without a tenant it is the default one's person, else the only one with this address."""
    by_slug = {credentials.person.tenant.slug: credentials for credentials in found}
    if tenant is not None:
        return by_slug.get(tenant)
    return by_slug.get(DEFAULT_TENANT) or (found[0] if len(found) == 1 else None)


async def _change_password(
    accounts: Accounts, passwords: Passwords, audit: AuditLog, found: Credentials, attempt: Attempt
) -> None:
    if attempt.new_password is None:
        if found.one_time:
            await audit.record(_by(found.person, "sign-in.needs-password"))
            raise PasswordChangeRequiredError("this password is for one login: send new_password with it")
        return
    if attempt.new_password == attempt.password:
        raise InvalidInputError("new_password", "must differ from the present password")
    password_hash = await passwords.hash(attempt.new_password)
    async with audit.together():
        await accounts.set_password(found.person.id, password_hash)
        await audit.record(_by(found.person, "person.password-changed"))


def _by(person: Person, action: str) -> AuditEntry:
    return AuditEntry(tenant_id=person.tenant.id, actor=person.id, action=action, target=person.id)


def _failed(found: Credentials | None, address: str, *, matches: bool) -> AuditEntry:
    """In the tenant of whom it was tried for; of an address that nobody has, a bounded number a minute."""
    if found is not None:
        detail = {"reason": "suspended" if matches else "wrong password"}
        person = found.person
        return AuditEntry(tenant_id=person.tenant.id, actor="nobody", action=FAILED, target=person.id, detail=detail)
    minute = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M")
    once = f"{FAILED} {minute} {address[:_UNKNOWN_DIGITS]}"
    detail = {"reason": "unknown address", "address_sha256": address}
    return AuditEntry(tenant_id=None, actor="nobody", action=FAILED, target="unknown address", detail=detail, once=once)


def _throttled(address: str, window_ends: datetime) -> AuditEntry:
    """Once a window. It is told before anything is looked up, so it is in nobody's tenant."""
    detail = {"address_sha256": address, "until": window_ends.isoformat()}
    once = f"sign-in.throttled {address} {window_ends.isoformat()}"
    return AuditEntry(
        tenant_id=None, actor="nobody", action="sign-in.throttled", target="an address", detail=detail, once=once
    )
