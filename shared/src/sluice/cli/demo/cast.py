"""The demo's tenant and its two people, made or found."""

import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from sluice.access import Level, Right
from sluice.cli.demo.memory import Memory
from sluice.cli.gateway import Gateway, RefusedError
from sluice.errors import PermanentError

TENANT = "demo"
_WRONG_PASSWORD = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.BAD_REQUEST)


@dataclass(frozen=True)
class Role:
    """Somebody in the demo."""

    email: str
    clearance: Level
    rights: tuple[Right, ...]

    @property
    def name(self) -> str:
        return self.email.partition("@")[0].capitalize()


ASHA = Role("asha@razorpay.com", Level.INTERNAL, (Right.READ, Right.UPLOAD, Right.TEACH, Right.LOGS, Right.ADMIN))
CARL = Role("carl@example.com", Level.EXTERNAL, (Right.READ,))


def ensure_tenant(operator: Gateway) -> None:
    with _already_there():
        operator.post("/tenants", {"slug": TENANT, "name": "Kaveri Payments (demo)"})


def sign_in(operator: Gateway, visitor: Gateway, role: Role, memory: Memory) -> str:
    """The role's bearer token; the person is made if they are not there.

    Raises:
        PermanentError: the person is there, with a password that an earlier run no longer tells.
    """
    password = memory.get("passwords", role.email)
    if password is None:
        password = secrets.token_urlsafe(16)
        memory.keep("passwords", role.email, password)
    with _already_there():
        body = {"email": role.email, "rights": list(role.rights)}
        person = operator.post(f"/tenants/{TENANT}/people", body)
        memory.keep("one_time_passwords", role.email, person["one_time_password"])
    token = _log_in(visitor, role, password, memory.get("one_time_passwords", role.email))
    memory.forget("one_time_passwords", role.email)
    return token


def _log_in(visitor: Gateway, role: Role, password: str, one_time: str | None) -> str:
    known = {"email": role.email, "tenant": TENANT}
    attempts = [{**known, "password": password}]
    if one_time:
        attempts.insert(0, {**known, "password": one_time, "new_password": password})
    for attempt in attempts:
        try:
            return visitor.post("/auth/login", attempt)["access_token"]
        except RefusedError as error:
            if error.code not in _WRONG_PASSWORD:
                raise
    raise PermanentError(
        f"{role.email} has a password that an earlier demo did not keep; run it on a fresh state folder"
    )


@contextmanager
def _already_there() -> Generator[None]:
    """Inside, a refusal because the thing exists is as good as having made it."""
    try:
        yield
    except RefusedError as error:
        if error.code != HTTPStatus.CONFLICT:
            raise
