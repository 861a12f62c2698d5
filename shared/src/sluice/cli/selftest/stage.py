"""Two tenants made for the test, their people and keys, and the connections that they call by."""

import json
import secrets
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import Any

import httpx2

from sluice.access import Level, Right
from sluice.cli.selftest.askers import Asker, ask
from sluice.cli.selftest.holdings import Canary, Thing
from sluice.errors import PermanentError, TransientError

PREFIX = "leak-selftest"
API = "/api/v1"
_DOCUMENTS = f"{API}/knowledge/documents"
_DOMAIN = "staff.leak-selftest.example"
_OUTSIDE = "customers.leak-selftest.example"
_TIMEOUT_SECONDS = 90
_EVERYTHING = sorted(set(Right) - {Right.OPERATOR})
_FOR_STAFF: frozenset[str] = frozenset({"declassify"})
_OUTSIDERS = sorted(set[str](_EVERYTHING) - _FOR_STAFF)


class Ends(ExitStack):
    """What is called at the end, the last first. What fails keeps no other from it, and hides no earlier error."""

    def later(self, asker: Asker, method: str, path: str) -> None:
        """What is gone already is as good."""
        self._last(lambda: [ask(asker, method, path).status], f"{method} {path}")

    def documents_of(self, admin: Asker) -> None:
        """Deletes all that there are then: an upload may be under way when the test is broken off."""

        def delete() -> list[int]:
            listed = ask(admin, "GET", _DOCUMENTS)
            found: list[dict[str, str]] = json.loads(listed.body)["items"] if listed.status == HTTPStatus.OK else []
            ids = [document["id"] for document in found if document["state"] != "deleting"]
            return [listed.status, *(ask(admin, "DELETE", f"{_DOCUMENTS}/{document_id}").status for document_id in ids)]

        self._last(delete, f"documents of {admin.tenant}")

    def _last(self, undo: Callable[[], Sequence[int]], what: str) -> None:
        def end(_: object, error: BaseException | None, __: object) -> None:
            try:
                ended = all(status < HTTPStatus.INTERNAL_SERVER_ERROR for status in undo())
            except httpx2.HTTPError:
                ended = False
            if not ended and error is None:
                raise TransientError(f"this could not be undone, the gateway is away or broken: {what}")

        self.push(end)


@dataclass(kw_only=True)
class Stage:
    """Who is there, what was planted, and the ids of it."""

    host: Asker
    """INTERNAL with every right, in the tenant whose sentences are asked for."""
    neighbour: Asker
    askers: list[Asker] = field(default_factory=list[Asker])
    canaries: list[Canary] = field(default_factory=list[Canary])
    things: list[Thing] = field(default_factory=list[Thing])
    ends: Ends = field(default_factory=Ends)
    redis_url: str | None = None
    page_url: str | None = None
    wait_seconds: float = 120

    @property
    def operator(self) -> Asker:
        return next(asker for asker in self.askers if asker.name == "operator")

    @property
    def readers(self) -> list[Asker]:
        return [asker for asker in self.askers if asker.chats]

    def named(self, name: str) -> Asker:
        return next(asker for asker in self.askers if asker.name == name)

    def forbidden_things(self, asker: Asker, parameter: str) -> list[Thing]:
        return [thing for thing in self.things if thing.parameter == parameter and not asker.may_have(thing)]

    def of(self, tenant: str, place: str, level: Level) -> Canary:
        wanted = (tenant, place, level)
        return next(canary for canary in self.canaries if (canary.tenant, canary.place, canary.level) == wanted)


@contextmanager
def open_stage(url: str, operator_token: str, *, local: bool) -> Generator[Stage]:
    """Makes tenants, people and keys, and in the end removes those and what was planted, however far it came.

    The hosts and their empty tenants stay: nobody knows their passwords, and their sessions are closed.
    Raises PermanentError, TransientError when the gateway does not play along.
    """
    with Ends() as ends:
        run = secrets.token_hex(4)
        house = _House(url, ends, run, local=local)
        operator = house.asker("operator", operator_token)
        home, other = f"{PREFIX}-{run}-home", f"{PREFIX}-{run}-other"
        for slug in (home, other):
            body = {"slug": slug, "name": f"Leak self-test {run}", "internal_domains": [_DOMAIN]}
            house.call(operator, "POST", f"{API}/tenants", json=body)
        host = house.person(operator, home, "INTERNAL admin", "host", _DOMAIN, _EVERYTHING)
        neighbour = house.person(operator, other, "INTERNAL admin of another tenant", "host", _DOMAIN, _EVERYTHING)
        for admin in (host, neighbour):
            ends.documents_of(admin)
        staff = partial(house.person, operator, home, host=host)
        others = [
            staff("INTERNAL reader", "reader", _DOMAIN, [Right.READ]),
            staff("EXTERNAL reader", "reader", _OUTSIDE, [Right.READ]),
            staff("EXTERNAL with every right", "all", _OUTSIDE, _OUTSIDERS),
            staff("INTERNAL without rights", "none", _DOMAIN, []),
            house.key(host, "EXTERNAL API key", Level.EXTERNAL),
            house.key(neighbour, "INTERNAL API key of another tenant", Level.INTERNAL),
            house.asker("nobody"),
        ]
        yield Stage(host=host, neighbour=neighbour, askers=[host, neighbour, *others, operator], ends=ends)


@dataclass
class _House:
    url: str
    ends: Ends
    run: str
    """Stands in every address, so that a guessed password of one run throttles nobody of the next."""
    local: bool = field(kw_only=True)

    def asker(self, name: str, token: str = "") -> Asker:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        client = httpx2.Client(base_url=self.url, headers=headers, timeout=_TIMEOUT_SECONDS, trust_env=not self.local)
        return Asker(name=name, http=self.ends.enter_context(client))

    def person(
        self,
        operator: Asker,
        tenant: str,
        name: str,
        local: str,
        domain: str,
        rights: Sequence[str],
        *,
        host: Asker | None = None,
    ) -> Asker:
        email = f"{local}-{self.run}@{domain}"
        made = self.call(
            operator, "POST", f"{API}/tenants/{tenant}/people", json={"email": email, "rights": list(rights)}
        )
        if host:
            self.ends.later(host, "DELETE", f"{API}/people/{made['id']}")
        password = secrets.token_urlsafe(24)
        login = {"email": email, "tenant": tenant, "password": made["one_time_password"], "new_password": password}
        session = self.call(self.asker("nobody"), "POST", f"{API}/auth/login", json=login)
        person, signed_in = session["person"], self.asker(name, session["access_token"])
        self.ends.later(signed_in, "POST", f"{API}/auth/logout")
        return replace(
            signed_in,
            tenant=tenant,
            clearance=_clearance(person, Level.INTERNAL if domain == _DOMAIN else Level.EXTERNAL),
            chats=Right.READ in rights,
            email=email,
            password=password,
            id=person["id"],
        )

    def key(self, admin: Asker, name: str, clearance: Level) -> Asker:
        body = {"name": name, "rights": [Right.READ, Right.UPLOAD], "clearance": clearance}
        made = self.call(admin, "POST", f"{API}/keys", json=body)
        self.ends.later(admin, "DELETE", f"{API}/keys/{made['id']}")
        return replace(self.asker(name, made["key"]), tenant=admin.tenant, clearance=clearance, id=made["id"])

    def call(self, asker: Asker, method: str, path: str, **content: Any) -> Any:
        return call(asker, method, path, **content)


def call(asker: Asker, method: str, path: str, **content: Any) -> Any:
    """What the stage itself is set up with: a refusal ends the test, since it would prove nothing."""
    try:
        response = asker.http.request(method, path, **content)
    except httpx2.HTTPError as error:
        raise TransientError(f"the gateway does not answer: {type(error).__name__}") from error
    if response.is_error:
        phrase = HTTPStatus(response.status_code).phrase
        raise PermanentError(f"the self-test cannot be set up: {method} {path} as {asker.name}: {phrase}")
    return response.json() if response.content else None


def _clearance(person: dict[str, Any], expected: Level) -> Level:
    if person["clearance"] != expected:
        raise PermanentError(f"{person['email']} has the clearance {person['clearance']}, not {expected}: a leak")
    return expected
