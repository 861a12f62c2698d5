"""Links that are good once: invitations, new passwords, signing up; mailed by a real mail server."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from pydantic import SecretStr
from sqlalchemy import func, select, update

from gateway.issuers import Issuer as IssuerSettings
from gateway.models import audit, links, people
from gateway.tokens import fingerprint
from tests.support.gateway import RunningGateway, gateway_settings, running_gateway
from tests.support.identity import Office
from tests.support.issuer import CLIENT_ID, CLIENT_SECRET, Issuer, running_issuer
from tests.support.post_office import SENDER, PostOffice, running_post_office
from tests.support.servers import RedisServer
from tests.support.waiting import until

API = "/api/v1"
CHOSEN = "a password of my own"


@pytest.fixture
def post() -> Iterator[PostOffice]:
    with running_post_office() as running:
        yield running


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running_issuer() as running:
        yield running


@pytest.fixture
async def gateway(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    empty_valkey: RedisServer,
    office: Office,
    post: PostOffice,
    issuer: Issuer,
) -> AsyncGenerator[RunningGateway]:
    known = IssuerSettings(
        name="acme",
        issuer=issuer.url,
        client_id=CLIENT_ID,
        client_secret=SecretStr(CLIENT_SECRET),
        tenants=("default",),
    )
    url = SecretStr(request.getfixturevalue("any_sql_url")) if "any_sql_url" in request.fixturenames else None
    settings = gateway_settings(
        tmp_path,
        empty_valkey.url,
        database_url=url,
        smtp_url=post.url,
        smtp_from=SENDER,
        oidc_issuers=(known,),
        public_url="https://support.example.com",
    )
    async with running_gateway(settings, office) as running:
        yield running


async def _invited(gateway: RunningGateway, email: str, *rights: str, **more: Any) -> tuple[dict[str, Any], str]:
    """The answer, and the link's token."""
    async with await gateway.admin() as admin:
        answer = await admin.post(f"{API}/invitations", json={"email": email, "rights": list(rights), **more})
    assert answer.status_code == 201, answer.text
    return answer.json(), _token(answer.json()["url"])


def _token(url: str) -> str:
    assert url.startswith("https://support.example.com/link?token=")
    return url.partition("token=")[2]


async def _ask(gateway: RunningGateway, path: str, **body: Any) -> httpx2.Response:
    async with gateway.client() as anybody:
        return await anybody.post(f"{API}/auth/{path}", json=body)


async def _use(gateway: RunningGateway, token: str, password: str = CHOSEN) -> httpx2.Response:
    return await _ask(gateway, "links/use", token=token, new_password=password)


async def _mailed(gateway: RunningGateway, post: PostOffice, address: str, count: int = 1) -> str:
    """The token of the newest of so many links."""
    found = await until(lambda: post.links_to(address)[count - 1 :], what=f"mail {count} to {address}")
    return found[0]


async def _open(gateway: RunningGateway) -> None:
    async with await gateway.admin() as admin:
        answer = await admin.patch(f"{API}/tenant", json={"sign_up": "open"})
    assert (answer.status_code, answer.json()["sign_up"]) == (200, "open")


@pytest.mark.usefixtures("any_sql_url")
async def test_an_invitation_is_good_once_for_its_tenant_and_address(gateway: RunningGateway) -> None:
    """Looking at it uses nothing up; SQL holds its hash alone."""
    invited, token = await _invited(gateway, "Ann@Razorpay.com", "read", "upload")
    assert (invited["purpose"], invited["mailed"], invited["person"]["email"]) == (
        "invitation",
        False,
        "ann@razorpay.com",
    )
    look = await _ask(gateway, "links/look", token=token)
    assert look.json() == {
        "purpose": "invitation",
        "email": "ann@razorpay.com",
        "tenant": "Default",
        "issuers": [{"name": "acme", "title": "Acme"}],
    }
    async with gateway.adapters.database.read() as connection:
        rows = (await connection.execute(select(links))).mappings().all()
    assert [row["token_sha256"] for row in rows] == [fingerprint(token)]
    assert token not in str(rows)
    assert (await _use(gateway, token, "short")).status_code == 422
    signed_in = await _use(gateway, token)
    assert signed_in.json()["person"] | {"id": ""} == {
        "id": "",
        "email": "ann@razorpay.com",
        "tenant": "default",
        "clearance": "INTERNAL",
        "rights": ["read", "upload"],
    }
    for used in (await _use(gateway, token), await _ask(gateway, "links/look", token=token)):
        assert (used.status_code, used.json()["type"]) == (404, "urn:sluice:problem:not-found")
    await (await gateway.sign_in("ann@razorpay.com", CHOSEN)).aclose()


@pytest.mark.usefixtures("any_sql_url")
async def test_of_fifty_uses_at_once_one_is_good(gateway: RunningGateway) -> None:
    _, token = await _invited(gateway, "ann@razorpay.com", "read")
    answers = await asyncio.gather(*(_use(gateway, token, f"{CHOSEN} {number}") for number in range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] + [404] * 49


@pytest.mark.usefixtures("any_sql_url")
async def test_a_link_that_is_guessed_old_or_taken_back_is_not_good(gateway: RunningGateway) -> None:
    _, first = await _invited(gateway, "ann@razorpay.com", "read")
    assert (await _use(gateway, secrets.token_urlsafe(32))).status_code == 404
    async with await gateway.admin() as admin:
        person = (await admin.get(f"{API}/people", params={"email": "ann@razorpay.com"})).json()["items"][0]
        again = await admin.post(f"{API}/people/{person['id']}/links", json={})
        second = _token(again.json()["url"])
        assert again.json()["purpose"] == "invitation", "she never chose a password"
        assert (await _use(gateway, first)).status_code == 404, "the newer one takes its place"
        await admin.patch(f"{API}/people/{person['id']}", json={"suspended": True})
        assert (await _use(gateway, second)).status_code == 404
        await admin.patch(f"{API}/people/{person['id']}", json={"suspended": False})
    async with gateway.adapters.database.write() as connection:
        await connection.execute(update(links).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    assert (await _use(gateway, second)).status_code == 404


async def test_a_link_to_an_address_that_its_person_has_no_more_is_not_good(gateway: RunningGateway) -> None:
    """case 15."""
    _, token = await _invited(gateway, "ann@razorpay.com", "read")
    async with gateway.adapters.database.write() as connection:
        await connection.execute(
            update(people).where(people.c.email == "ann@razorpay.com").values(email="ann@example.com")
        )
    assert (await _use(gateway, token)).status_code == 404


@pytest.mark.usefixtures("any_sql_url")
async def test_an_admin_resets_a_password_and_the_old_one_and_its_sessions_end(gateway: RunningGateway) -> None:
    old = await gateway.person("bob@razorpay.com", "read")
    async with old, await gateway.admin() as admin:
        person = (await old.get(f"{API}/me")).json()
        made = await admin.post(f"{API}/people/{person['id']}/links", json={})
        assert (made.status_code, made.json()["purpose"]) == (201, "reset")
        assert (await old.get(f"{API}/me")).status_code == 200, "until the link is used"
        assert (await _use(gateway, _token(made.json()["url"]))).status_code == 200
        assert (await old.get(f"{API}/me")).status_code == 401
    refused = await _ask(gateway, "login", email="bob@razorpay.com", password="a password of bob@razorpay.com")
    assert refused.status_code == 401
    async with gateway.adapters.database.read() as connection:
        told = select(audit.c.action).where(audit.c.target == person["id"]).order_by(audit.c.id)
        actions = list((await connection.execute(told)).scalars())
    assert actions[-4:-1] == ["link.made", "person.password-changed", "person.signed-in"]


async def test_nobody_makes_a_link_for_whoever_may_more_than_they(gateway: RunningGateway) -> None:
    """Whoever has the link signs in as its person."""
    async with await gateway.admin() as admin:
        first = (await admin.get(f"{API}/me")).json()["id"]
    limited = await gateway.person("limited@razorpay.com", "read", "admin")
    outside = await gateway.person("outside@example.com", "read", "admin")
    reader = (await (await gateway.person("in@razorpay.com", "read")).get(f"{API}/me")).json()["id"]
    async with limited, outside:
        assert (await limited.post(f"{API}/people/{first}/links", json={})).status_code == 403
        assert (await limited.post(f"{API}/people/{reader}/links", json={})).status_code == 201
        assert (await outside.post(f"{API}/people/{reader}/links", json={})).status_code == 403
        invitation = {"email": "new@razorpay.com", "rights": ["read"]}
        assert (await outside.post(f"{API}/invitations", json=invitation)).status_code == 403
        escalated = {"email": "new@example.com", "rights": ["logs"]}
        assert (await limited.post(f"{API}/invitations", json=escalated)).status_code == 403
    await gateway.add_tenant("acme")
    stranger = await gateway.person("boss@razorpay.com", "read", "admin", tenant="acme")
    async with stranger:
        assert (await stranger.post(f"{API}/people/{reader}/links", json={})).status_code == 404, "case 1"


async def test_a_mail_holds_the_link_and_nothing_else_that_is_secret(gateway: RunningGateway, post: PostOffice) -> None:
    invited, token = await _invited(gateway, "ann@razorpay.com", "read", mail=True)
    assert invited["mailed"] is True
    assert await _mailed(gateway, post, "ann@razorpay.com") == token
    [mail] = post.mails
    assert (mail["From"], mail["Auto-Submitted"]) == (SENDER, "auto-generated")
    assert mail.get_content().count(token) == 1
    assert "password:" not in mail.get_content()
    assert (await _use(gateway, token)).status_code == 200


async def test_who_forgot_their_password_is_mailed_a_link_and_nobody_learns_who_is_there(
    gateway: RunningGateway, post: PostOffice
) -> None:
    """The answer comes before anything is looked up: while the mail server still waits, and for nobody alike."""
    await (await gateway.person("bob@razorpay.com", "read")).aclose()
    post.open.clear()
    answers = [
        await _ask(gateway, "forgotten", email=email)
        for email in ("bob@razorpay.com", "nobody@razorpay.com", "no address", "b\u00f6b@razorpay.com")
    ]
    assert {(answer.status_code, answer.text) for answer in answers} == {(202, "null")}
    assert post.mails == []
    post.open.set()
    token = await _mailed(gateway, post, "bob@razorpay.com")
    assert (await _use(gateway, token)).status_code == 200
    assert [mail["To"] for mail in post.mails] == ["bob@razorpay.com"]


@pytest.mark.usefixtures("any_sql_url")
async def test_a_link_that_anybody_asked_for_ends_none_that_an_admin_made(
    gateway: RunningGateway, post: PostOffice
) -> None:
    bob = await gateway.person("bob@razorpay.com", "read")
    async with bob, await gateway.admin() as admin:
        person_id = (await bob.get(f"{API}/me")).json()["id"]
        made = await admin.post(f"{API}/people/{person_id}/links", json={})
    await _ask(gateway, "forgotten", email="bob@razorpay.com")
    mailed = await _mailed(gateway, post, "bob@razorpay.com")
    assert (await _use(gateway, _token(made.json()["url"]))).status_code == 200
    assert (await _use(gateway, mailed)).status_code == 404, "using one ends all"


async def test_an_address_is_mailed_three_links_an_hour(gateway: RunningGateway, post: PostOffice) -> None:
    for email in ("bob@razorpay.com", "eve@example.com"):
        await (await gateway.person(email, "read")).aclose()
    for _ in range(5):
        await _ask(gateway, "forgotten", email="bob@razorpay.com")
    await _mailed(gateway, post, "bob@razorpay.com", 3)
    await _ask(gateway, "forgotten", email="eve@example.com")
    await _mailed(gateway, post, "eve@example.com")
    assert len(post.links_to("bob@razorpay.com")) == 3


async def test_who_is_in_several_tenants_is_mailed_for_each_or_the_one_they_name(
    gateway: RunningGateway, post: PostOffice
) -> None:
    await gateway.add_tenant("acme")
    for tenant in ("default", "acme"):
        await (await gateway.person("two@razorpay.com", "read", tenant=tenant)).aclose()
    await _ask(gateway, "forgotten", email="two@razorpay.com", tenant="acme")
    first = await _mailed(gateway, post, "two@razorpay.com")
    assert (await _use(gateway, first)).json()["person"]["tenant"] == "acme"
    await _ask(gateway, "forgotten", email="two@razorpay.com")
    await _mailed(gateway, post, "two@razorpay.com", 3)
    tenants = {
        (await _use(gateway, token)).json()["person"]["tenant"] for token in post.links_to("two@razorpay.com")[1:]
    }
    assert tenants == {"default", "acme"}


async def test_a_mail_that_is_not_taken_breaks_nothing(gateway: RunningGateway, post: PostOffice) -> None:
    post.refuses = True
    _, token = await _invited(gateway, "ann@razorpay.com", "read", mail=True)
    assert (await _use(gateway, token)).status_code == 200


async def test_the_mail_server_is_told_the_password_of_its_file(
    tmp_path: Path, empty_valkey: RedisServer, office: Office
) -> None:
    (tmp_path / "smtp.password").write_text("a mail password\n")
    with running_post_office(login=("sluice@mail", "a mail password")) as post:
        settings = gateway_settings(
            tmp_path,
            empty_valkey.url,
            smtp_url=post.url.replace("//", "//sluice%40mail@"),
            smtp_password_file=tmp_path / "smtp.password",
            smtp_from=SENDER,
        )
        async with running_gateway(settings, office) as gateway:
            await (await gateway.person("bob@razorpay.com", "read")).aclose()
            await _ask(gateway, "forgotten", email="bob@razorpay.com")
            await _mailed(gateway, post, "bob@razorpay.com")


async def test_a_customer_signs_up_where_the_tenant_is_open_and_is_external(
    gateway: RunningGateway, post: PostOffice
) -> None:
    body = {"email": "Carl@example.com", "tenant": "default"}
    assert (await _ask(gateway, "sign-up", **body)).status_code == 404
    async with gateway.client() as anybody:
        assert (await anybody.get(f"{API}/auth/ways")).json()["sign_up"] is False
        await _open(gateway)
        assert (await anybody.get(f"{API}/auth/ways")).json()["sign_up"] is True
    assert (await _ask(gateway, "sign-up", **body)).status_code == 202
    token = await _mailed(gateway, post, "carl@example.com")
    joined = (await _use(gateway, token)).json()["person"]
    assert (joined["email"], joined["clearance"], joined["rights"]) == ("carl@example.com", "EXTERNAL", ["read"])
    assert (await _use(gateway, token)).status_code == 404


async def test_the_companys_own_people_are_invited_and_do_not_sign_up(
    gateway: RunningGateway, post: PostOffice
) -> None:
    await _open(gateway)
    refused = await _ask(gateway, "sign-up", email="new@razorpay.com", tenant="default")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "email")
    assert (await _ask(gateway, "sign-up", email="no address", tenant="default")).status_code == 422
    assert (await _ask(gateway, "sign-up", email="a@example.com", tenant="nobody")).status_code == 404


@pytest.mark.usefixtures("any_sql_url")
async def test_racing_sign_ups_make_one_person_and_no_admin(gateway: RunningGateway, post: PostOffice) -> None:
    """case 16: the link is good once; of 50 who use it at once one is let in."""
    await _open(gateway)
    await _ask(gateway, "sign-up", email="carl@example.com", tenant="default")
    token = await _mailed(gateway, post, "carl@example.com")
    answers = await asyncio.gather(*(_use(gateway, token, f"{CHOSEN} {number}") for number in range(50)))
    good = [answer.json()["person"] for answer in answers if answer.status_code == 200]
    assert [person["rights"] for person in good] == [["read"]]
    async with gateway.adapters.database.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(people))).scalar_one() == 2


async def test_who_signs_up_again_is_mailed_how_to_come_in(gateway: RunningGateway, post: PostOffice) -> None:
    """The same answer as for who is new."""
    await (await gateway.person("carl@example.com", "read", "upload")).aclose()
    await _open(gateway)
    assert (await _ask(gateway, "sign-up", email="carl@example.com", tenant="default")).status_code == 202
    token = await _mailed(gateway, post, "carl@example.com")
    assert (await _ask(gateway, "links/look", token=token)).json()["purpose"] == "reset"
    assert (await _use(gateway, token)).json()["person"]["rights"] == ["read", "upload"]


async def test_a_tenant_that_closed_takes_nobody_by_an_old_link(gateway: RunningGateway, post: PostOffice) -> None:
    await _open(gateway)
    await _ask(gateway, "sign-up", email="carl@example.com", tenant="default")
    token = await _mailed(gateway, post, "carl@example.com")
    async with await gateway.admin() as admin:
        await admin.patch(f"{API}/tenant", json={"sign_up": "closed"})
        assert (await admin.get(f"{API}/tenant")).json()["sign_up"] == "closed"
    assert (await _use(gateway, token)).status_code == 404


async def _at_issuer(gateway: RunningGateway, **begin: str) -> httpx2.Response:
    binding = secrets.token_urlsafe(32)
    body = {"binding_sha256": hashlib.sha256(binding.encode()).hexdigest(), **begin}
    begun = await _ask(gateway, "oidc/acme/begin", **body)
    assert begun.status_code == 200, begun.text
    async with httpx2.AsyncClient(trust_env=False) as browser:
        back = await browser.get(begun.json()["authorization_url"])
    answer = dict(parse_qsl(urlsplit(back.headers["location"]).query))
    return await _ask(gateway, "oidc/acme/finish", **answer, binding=binding)


@pytest.mark.usefixtures("any_sql_url")
async def test_a_link_connects_an_account_to_an_issuer_by_its_own_address_alone(
    gateway: RunningGateway, issuer: Issuer
) -> None:
    """Also one with a password, which is never taken over without; then no link is needed any more."""
    ann = await gateway.person("ann@razorpay.com", "read", "teach")
    async with ann, await gateway.admin() as admin:
        person_id = (await ann.get(f"{API}/me")).json()["id"]
        made = await admin.post(f"{API}/people/{person_id}/links", json={})
    token = _token(made.json()["url"])
    issuer.person = {"sub": "eve", "email": "eve@example.com", "email_verified": True}
    assert (await _at_issuer(gateway, link=token)).status_code == 401
    issuer.person = {"sub": "ann", "email": "ann@razorpay.com", "email_verified": "true"}
    assert (await _at_issuer(gateway, link=token)).status_code == 401
    issuer.person["email_verified"] = True
    assert (await _at_issuer(gateway)).status_code == 401
    assert (await _at_issuer(gateway, link=token)).json()["person"]["id"] == person_id
    assert (await _use(gateway, token)).status_code == 404, "it is used up"
    assert (await _at_issuer(gateway)).json()["person"]["rights"] == ["read", "teach"]


async def test_an_issuer_that_nobody_may_join_from_lets_the_invited_in_alone(
    gateway: RunningGateway, issuer: Issuer
) -> None:
    issuer.person = {"sub": "ann", "email": "ann@razorpay.com", "email_verified": True}
    assert (await _at_issuer(gateway)).status_code == 401
    await _invited(gateway, "ann@razorpay.com", "read")
    assert (await _at_issuer(gateway)).status_code == 200
    answer = await _ask(gateway, "oidc/acme/begin", binding_sha256="0" * 64, link=secrets.token_urlsafe(32))
    assert answer.status_code == 404


async def test_whoever_has_no_password_is_mailed_none(gateway: RunningGateway, post: PostOffice) -> None:
    """They come from an issuer, which may have shut them out; an admin can make them a link."""
    for email in ("ann@razorpay.com", "bob@razorpay.com"):
        await (await gateway.person(email, "read")).aclose()
    async with gateway.adapters.database.write() as connection:
        await connection.execute(update(people).where(people.c.email == "ann@razorpay.com").values(password_hash=""))
    assert (await _ask(gateway, "login", email="ann@razorpay.com", password=CHOSEN)).status_code == 401
    for email in ("ann@razorpay.com", "bob@razorpay.com"):
        await _ask(gateway, "forgotten", email=email)
    await _mailed(gateway, post, "bob@razorpay.com")
    assert post.links_to("ann@razorpay.com") == []


async def test_without_a_mail_server_links_are_told_and_nothing_is_mailed(
    tmp_path: Path, empty_valkey: RedisServer, office: Office
) -> None:
    async with running_gateway(gateway_settings(tmp_path, empty_valkey.url), office) as gateway:
        invitation: dict[str, Any] = {"email": "ann@razorpay.com", "rights": ["read"]}
        async with await gateway.admin() as admin:
            mailed = await admin.post(f"{API}/invitations", json={**invitation, "mail": True})
            assert (mailed.status_code, mailed.json()["type"]) == (409, "urn:sluice:problem:not-set-up")
            made = await admin.post(f"{API}/invitations", json=invitation)
            assert made.json()["url"].startswith("http://127.0.0.1:7860/link?token=")
            assert (await admin.patch(f"{API}/tenant", json={"sign_up": "open"})).status_code == 409
        assert (await _ask(gateway, "forgotten", email="ann@razorpay.com")).status_code == 409
        async with gateway.client() as anybody:
            assert (await anybody.get(f"{API}/auth/ways")).json() == {
                "issuers": [],
                "forgotten": False,
                "sign_up": False,
            }
