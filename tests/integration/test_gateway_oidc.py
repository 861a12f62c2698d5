"""Signing in at an OpenID Connect issuer, which runs here and can be told to lie."""

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from joserfc.jwk import KeySet
from pydantic import SecretStr
from sqlalchemy import func, select, update

from gateway.issuers import Issuer as IssuerSettings
from gateway.models import audit, handshakes, people
from tests.support.gateway import OPERATOR_TOKEN, RunningGateway, gateway_settings, running_gateway
from tests.support.identity import Office
from tests.support.issuer import CLIENT_ID, CLIENT_SECRET, Claims, Issuer, running_issuer
from tests.support.servers import RedisServer

AUTH = "/api/v1/auth"
RUTH: Claims = {"sub": "ruth-1", "email": "ruth@razorpay.com", "email_verified": True}


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running_issuer() as running:
        running.person = dict(RUTH)
        yield running


@pytest.fixture
async def gateway(
    request: pytest.FixtureRequest, tmp_path: Path, empty_valkey: RedisServer, office: Office, issuer: Issuer
) -> AsyncGenerator[RunningGateway]:
    """People of the tenants `default` and `acme` may come from `open`, and join; from `closed` the invited alone."""
    known = {"issuer": issuer.url, "client_id": CLIENT_ID, "client_secret": SecretStr(CLIENT_SECRET)}
    issuers = (
        IssuerSettings(name="open", **known, tenants=("default", "acme"), may_join=True),
        IssuerSettings(name="closed", **{**known, "issuer": f"{issuer.url}/"}, tenants=("default",)),
    )
    url = SecretStr(request.getfixturevalue("any_sql_url")) if "any_sql_url" in request.fixturenames else None
    settings = gateway_settings(tmp_path, empty_valkey.url, oidc_issuers=issuers, database_url=url)
    async with running_gateway(settings, office) as running:
        await running.add_tenant("acme")
        yield running


@dataclass
class Browser:
    """What the page and the browser do together."""

    gateway: RunningGateway
    issuer: Issuer
    name: str = "open"

    async def go(self, **begin: str) -> tuple[str, dict[str, str]]:
        """To the issuer, and back with what it answers."""
        binding = secrets.token_urlsafe(32)
        body = {"binding_sha256": hashlib.sha256(binding.encode()).hexdigest(), **begin}
        async with self.gateway.client() as page:
            begun = await page.post(f"{AUTH}/oidc/{self.name}/begin", json=body)
        assert begun.status_code == 200, begun.text
        async with httpx2.AsyncClient(trust_env=False) as browser:
            back = await browser.get(begun.json()["authorization_url"])
        assert back.status_code == 302
        place = urlsplit(back.headers["location"])
        assert place.path == f"/login/oidc/{self.name}"
        return binding, dict(parse_qsl(place.query))

    async def come_back(self, binding: str, answer: dict[str, str]) -> httpx2.Response:
        async with self.gateway.client() as page:
            return await page.post(f"{AUTH}/oidc/{self.name}/finish", json={**answer, "binding": binding})

    async def sign_in(self, **begin: str) -> httpx2.Response:
        return await self.come_back(*await self.go(**begin))

    async def me(self, **begin: str) -> Any:
        answer = await self.sign_in(**begin)
        assert answer.status_code == 200, answer.text
        async with self.gateway.client(answer.json()["access_token"]) as person:
            return (await person.get("/api/v1/me")).json()


@pytest.fixture
def browser(gateway: RunningGateway, issuer: Issuer) -> Browser:
    return Browser(gateway, issuer)


async def _people(gateway: RunningGateway) -> int:
    async with gateway.adapters.database.read() as connection:
        return (await connection.execute(select(func.count()).select_from(people))).scalar_one()


async def _audited(gateway: RunningGateway, action: str) -> list[Any]:
    async with gateway.adapters.database.read() as connection:
        query = select(audit.c.detail).where(audit.c.action == action).order_by(audit.c.id)
        return list((await connection.execute(query)).scalars())


@pytest.mark.usefixtures("any_sql_url")
async def test_a_person_joins_and_comes_again_with_pkce_state_and_nonce(browser: Browser) -> None:
    """The client keeps the verifier, the issuer sees its hash; each sign-in has a state and a nonce of its own."""
    first, again = await browser.me(tenant="default"), await browser.me(tenant="default")
    assert first == again
    assert (first["clearance"], first["rights"], first["tenant"]) == ("INTERNAL", ["read"], "default")
    asked = browser.issuer.authorized
    assert [one["code_challenge_method"] for one in asked] == ["S256", "S256"]
    for name in ("state", "nonce", "code_challenge"):
        assert len({one[name] for one in asked}) == 2
    assert "code_verifier" not in str(asked)
    assert [record["by"] for record in await _audited(browser.gateway, "person.joined")] == ["open"]


async def test_other_kinds_of_keys_are_as_good(browser: Browser) -> None:
    for alg in ("ES256", "EdDSA"):
        browser.issuer.use(alg)
        assert (await browser.me(tenant="default"))["email"] == "ruth@razorpay.com"


NOT_QUITE_INTERNAL: list[Any] = [
    "a@razorpay.com.evil.com",
    "x@evilrazorpay.com",
    "a@sub.razorpay.com",
    "a@rаzorpay.com",
    "a@ｒazorpay.com",
    "a@razorpay.com.",
    "a@razorpay.com\0",
    "a@razorpay.com\n",
    "a@evil.com@razorpay.com",
    '"a b"@razorpay.com',
    "",
    None,
    ["a@razorpay.com"],
]


async def test_an_address_that_is_not_quite_internal_is_external(browser: Browser) -> None:
    """case 13: also when the issuer vouches for it."""
    for number, address in enumerate(NOT_QUITE_INTERNAL):
        browser.issuer.person = {"sub": f"x{number}", "email": address, "email_verified": True}
        assert (await browser.me(tenant="default"))["clearance"] == "EXTERNAL", address


async def test_capitals_and_a_tag_change_nobody(browser: Browser) -> None:
    """case 13: the domain decides, and one subject is one person."""
    browser.issuer.person = {"sub": "a", "email": "A+tag@RazorPay.COM", "email_verified": True}
    first = await browser.me(tenant="default")
    browser.issuer.person["email"] = "a+tag@razorpay.com"
    assert first["clearance"] == "INTERNAL"
    assert await browser.me(tenant="default") == first


async def test_an_address_is_verified_by_exactly_true(browser: Browser) -> None:
    """case 14: whoever comes without is EXTERNAL, and takes nobody's address or account."""
    one_time = await _add(browser.gateway, "ruth@razorpay.com", "read", "admin")
    for number, verified in enumerate((None, False, "true", "True", 1, "yes", [True], {"": True})):
        browser.issuer.person = {"sub": f"ruth-{number}", "email": "ruth@razorpay.com"}
        browser.issuer.person |= {} if verified is None else {"email_verified": verified}
        somebody = await browser.me(tenant="default")
        assert (somebody["clearance"], somebody["rights"]) == ("EXTERNAL", ["read"]), verified
        assert "razorpay" not in somebody["email"]
    body = {"email": "ruth@razorpay.com", "password": one_time, "new_password": "ruth's own password"}
    async with browser.gateway.client() as client:
        assert (await client.post(f"{AUTH}/login", json=body)).json()["person"]["rights"] == ["admin", "read"]


async def test_who_is_no_longer_vouched_for_is_external_at_once(browser: Browser) -> None:
    """case 14."""
    was = await browser.me(tenant="default")
    browser.issuer.person["email_verified"] = "true"
    now = await browser.me(tenant="default")
    assert (was["id"], was["clearance"], now["clearance"]) == (now["id"], "INTERNAL", "EXTERNAL")


@pytest.mark.usefixtures("any_sql_url")
async def test_a_changed_address_keeps_no_right(browser: Browser) -> None:
    """case 15: the same subject with another address is the same person, EXTERNAL, without what was granted."""
    answer = (await browser.sign_in(tenant="default")).json()
    async with await browser.gateway.admin() as admin:
        changed = await admin.patch(f"/api/v1/people/{answer['person']['id']}", json={"rights": ["read", "admin"]})
    assert changed.json()["rights"] == ["admin", "read"]
    browser.issuer.person["email"] = "ruth@example.com"
    now = await browser.me(tenant="default")
    assert (now["id"], now["email"]) == (answer["person"]["id"], "ruth@example.com")
    assert (now["clearance"], now["rights"]) == ("EXTERNAL", ["read"])
    async with browser.gateway.client(answer["access_token"]) as old:
        assert (await old.get("/api/v1/me")).status_code == 401
    assert [(one["by"], one["rights"]) for one in await _audited(browser.gateway, "person.address-changed")] == [
        ("open", ["read"])
    ]


async def test_a_new_owner_of_an_address_is_not_the_old_one(browser: Browser) -> None:
    """case 15: another subject with the same address comes to nobody's account."""
    await browser.me(tenant="default")
    browser.issuer.person["sub"] = "ruth-2"
    refused = await browser.sign_in(tenant="default")
    assert (refused.status_code, refused.json()["type"]) == (401, "urn:sluice:problem:login-refused")
    assert await _people(browser.gateway) == 2


@pytest.mark.usefixtures("any_sql_url")
async def test_nobody_takes_an_address_that_somebody_else_has(browser: Browser) -> None:
    """case 15: a person whose address becomes that of another one is let in as neither."""
    await browser.me(tenant="default")
    browser.issuer.person = {"sub": "eve", "email": "eve@example.com", "email_verified": True}
    await browser.me(tenant="default")
    browser.issuer.person["email"] = "ruth@razorpay.com"
    assert (await browser.sign_in(tenant="default")).status_code == 401
    browser.issuer.person["email"] = "eve@example.com"
    assert (await browser.me(tenant="default"))["clearance"] == "EXTERNAL"


async def test_an_account_with_a_password_of_its_own_is_never_taken_over(browser: Browser) -> None:
    """case 15: not by an address, although the issuer vouches for it."""
    async with await browser.gateway.person("ruth@razorpay.com", "read", "admin"):
        refused = await browser.sign_in(tenant="default")
    assert refused.status_code == 401
    assert "password" in refused.json()["detail"]
    assert [one["reason"] for one in await _audited(browser.gateway, "sign-in.failed")] == ["account exists"]


async def test_whom_an_admin_added_comes_in_by_the_vouched_for_address_once(browser: Browser) -> None:
    """With what they were granted; the next subject with the address does not, nor does the one-time password."""
    one_time = await _add(browser.gateway, "ruth@razorpay.com", "read", "upload")
    assert (await browser.me(tenant="default"))["rights"] == ["read", "upload"]
    browser.issuer.person["sub"] = "another"
    assert (await browser.sign_in(tenant="default")).status_code == 401
    body = {"email": "ruth@razorpay.com", "password": one_time, "new_password": "a password of ruth's"}
    async with browser.gateway.client() as client:
        assert (await client.post(f"{AUTH}/login", json=body)).status_code == 401


@pytest.mark.usefixtures("any_sql_url")
async def test_the_first_who_join_are_no_admins_and_racing_makes_one_person(browser: Browser) -> None:
    """case 16: 50 at once; the first person of a tenant too."""
    gone = [await browser.go(tenant="acme") for _ in range(50)]
    answers = await asyncio.gather(*(browser.come_back(*each) for each in gone))
    assert {answer.status_code for answer in answers} == {200}
    assert {tuple(answer.json()["person"]["rights"]) for answer in answers} == {("read",)}
    assert len({answer.json()["person"]["id"] for answer in answers}) == 1


def _lies(issuer: Issuer) -> dict[str, Callable[[Claims], str]]:
    stranger = Issuer(issuer.url)

    def with_claims(**changed: Any) -> Callable[[Claims], str]:
        return lambda claims: issuer.sign({k: v for k, v in {**claims, **changed}.items() if v is not None})

    return {
        "alg none": issuer.unsigned,
        "HS256 with the public key": issuer.sign_as_text,
        "a key that is not the issuer's": lambda claims: stranger.sign(claims, kid=issuer.key.kid),
        "an unknown kid": lambda claims: issuer.sign(claims, kid="nobody's"),
        "an unknown crit": lambda claims: issuer.sign(claims, crit=["x-must"], **{"x-must": True}),
        "a crit that is no list of names": lambda claims: issuer.sign(claims, crit=7),
        "a broken signature": lambda claims: issuer.sign(claims)[:-6] + "AAAAAA",
        "another audience": with_claims(aud="another"),
        "two audiences, and no azp": with_claims(aud=[CLIENT_ID, "another"]),
        "another azp": with_claims(azp="another"),
        "no audience": with_claims(aud=None),
        "another issuer": with_claims(iss="https://evil.example"),
        "no issuer": with_claims(iss=None),
        "another nonce": with_claims(nonce="another"),
        "no nonce": with_claims(nonce=None),
        "expired": with_claims(exp=int(time.time()) - 3600),
        "an exp that is no number": with_claims(exp="tomorrow"),
        "no exp": with_claims(exp=None),
        "issued in the future": with_claims(iat=int(time.time()) + 3600),
        "no subject": with_claims(sub=None),
        "an empty subject": with_claims(sub=""),
        "a subject that is a number": with_claims(sub=7),
        "no token at all": lambda claims: "",
        "no JSON": lambda claims: "a.b.c",
    }


async def test_a_token_that_is_not_good_signs_nobody_in(browser: Browser) -> None:
    """case 17."""
    for name, lie in _lies(browser.issuer).items():
        browser.issuer.token = lie
        refused = await browser.sign_in(tenant="default")
        assert (refused.status_code, refused.json()["type"]) == (401, "urn:sluice:problem:login-refused"), name
    assert await _people(browser.gateway) == 1
    browser.issuer.token = None
    assert (await browser.sign_in(tenant="default")).status_code == 200, "the same with a good one"


async def test_an_issuer_that_calls_itself_another_is_not_asked(browser: Browser) -> None:
    """case 17: neither in what it publishes nor beside the code."""
    browser.issuer.says_issuer = "https://accounts.example"
    body = {"binding_sha256": "0" * 64, "tenant": "default"}
    async with browser.gateway.client() as page:
        assert (await page.post(f"{AUTH}/oidc/open/begin", json=body)).status_code == 503
    browser.issuer.says_issuer = ""
    browser.issuer.says_iss = "https://accounts.example"
    assert (await browser.sign_in(tenant="default")).status_code == 401
    browser.issuer.says_iss = browser.issuer.url
    assert (await browser.sign_in(tenant="default")).status_code == 200


async def test_changed_keys_are_fetched_anew_and_unknown_ones_not_for_ever(browser: Browser) -> None:
    """The former key is not good any more; of twelve tokens by unknown keys three make us ask."""
    await browser.me(tenant="default")
    former, former_set = browser.issuer.key, browser.issuer.published
    browser.issuer.use("RS256")
    await browser.me(tenant="default")
    assert browser.issuer.key_requests == 2
    stranger = Issuer(browser.issuer.url)
    browser.issuer.token = stranger.sign
    assert {(await browser.sign_in(tenant="default")).status_code for _ in range(12)} == {401}
    assert browser.issuer.key_requests == 4
    browser.issuer.token, browser.issuer.key = None, former
    assert former_set is not None
    assert (await browser.sign_in(tenant="default")).status_code == 401


async def test_a_new_key_beside_the_old_one_is_found(browser: Browser) -> None:
    await browser.me(tenant="default")
    old = browser.issuer.key
    browser.issuer.use("ES256")
    browser.issuer.published = KeySet([old, browser.issuer.key])
    await browser.me(tenant="default")


async def test_an_address_that_is_told_at_userinfo_alone_counts_if_it_is_the_same_subjects(browser: Browser) -> None:
    browser.issuer.thin = True
    assert (await browser.me(tenant="default"))["clearance"] == "INTERNAL"
    browser.issuer.token = lambda claims: browser.issuer.sign({**claims, "sub": "eve"})
    assert (await browser.sign_in(tenant="default")).status_code == 401


@pytest.mark.usefixtures("any_sql_url")
async def test_a_sign_in_ends_in_the_browser_that_began_it_and_once(browser: Browser) -> None:
    binding, answer = await browser.go(tenant="default")
    assert (await browser.come_back(secrets.token_urlsafe(32), answer)).status_code == 401
    assert (await browser.come_back(binding, answer)).status_code == 401, "the state was used"
    assert (await browser.come_back(binding, {**answer, "state": secrets.token_urlsafe(32)})).status_code == 401
    binding, answer = await browser.go(tenant="default")
    assert (await Browser(browser.gateway, browser.issuer, "closed").come_back(binding, answer)).status_code == 401
    binding, answer = await browser.go(tenant="default")
    assert (await browser.come_back(binding, {**answer, "code": "guessed"})).status_code == 401
    binding, answer = await browser.go(tenant="default")
    assert (await browser.come_back(binding, answer)).status_code == 200
    assert (await browser.come_back(binding, answer)).status_code == 401


async def test_a_sign_in_that_took_too_long_is_begun_again(browser: Browser) -> None:
    binding, answer = await browser.go(tenant="default")
    async with browser.gateway.adapters.database.write() as connection:
        await connection.execute(update(handshakes).values(expires_at=func.current_timestamp()))
    assert (await browser.come_back(binding, answer)).status_code == 401


@pytest.mark.usefixtures("any_sql_url")
async def test_which_tenant_is_meant(browser: Browser) -> None:
    """By name, and only one that the issuer is for; without, the only one where they are known."""
    refused = await browser.sign_in()
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:sluice:problem:tenant-needed")
    there = await browser.me(tenant="acme")
    assert there["tenant"] == "acme"
    assert await browser.me() == there
    here = await browser.me(tenant="default")
    assert (here["tenant"], here["id"] == there["id"]) == ("default", False), "one person may be in several"
    assert await browser.me() == here
    async with browser.gateway.client(OPERATOR_TOKEN) as operator:
        await operator.post("/api/v1/tenants", json={"slug": "other", "name": "Other"})
    body = {"binding_sha256": "0" * 64}
    async with browser.gateway.client() as page:
        for name, tenant in (("open", "other"), ("open", "nobody"), ("closed", "acme"), ("unknown", "default")):
            answer = await page.post(f"{AUTH}/oidc/{name}/begin", json={**body, "tenant": tenant})
            assert answer.status_code == 404, (name, tenant)


async def test_a_suspended_person_is_not_let_in(browser: Browser) -> None:
    somebody = await browser.me(tenant="default")
    async with await browser.gateway.admin() as admin:
        await admin.patch(f"/api/v1/people/{somebody['id']}", json={"suspended": True})
    assert (await browser.sign_in(tenant="default")).status_code == 401


async def test_the_ways_in_are_told_by_tenant(browser: Browser) -> None:
    async with browser.gateway.client() as page:
        everywhere = (await page.get(f"{AUTH}/ways")).json()["issuers"]
        at_acme = (await page.get(f"{AUTH}/ways", params={"tenant": "acme"})).json()["issuers"]
    assert everywhere == [{"name": "open", "title": "Open"}, {"name": "closed", "title": "Closed"}]
    assert at_acme == everywhere[:1]


async def _add(gateway: RunningGateway, email: str, *rights: str) -> str:
    async with await gateway.admin() as admin:
        added = await admin.post("/api/v1/people", json={"email": email, "rights": list(rights)})
    assert added.status_code == 201, added.text
    return added.json()["one_time_password"]
