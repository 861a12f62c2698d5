"""Signing in and out over HTTP."""

import asyncio
import statistics
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
from argon2 import PasswordHasher
from sqlalchemy import select, update

from gateway.adapters.passwords import Argon2Passwords
from gateway.models import people, sessions
from gateway.tokens import fingerprint
from tests.support.gateway import ADMIN_PASSWORD, OPERATOR_TOKEN, RunningGateway, gateway_settings, running_gateway
from tests.support.identity import Office
from tests.support.servers import RedisServer

LOGIN = "/api/v1/auth/login"


async def _new_person(gateway: RunningGateway, email: str, *rights: str) -> tuple[str, str]:
    """The id and one-time password of someone who has never signed in."""
    async with await gateway.admin() as admin:
        answer = await admin.post("/api/v1/people", json={"email": email, "rights": list(rights)})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"], answer.json()["one_time_password"]


async def test_the_first_admin_signs_in_and_sees_who_they_are(gateway: RunningGateway) -> None:
    async with await gateway.admin() as admin:
        me = (await admin.get("/api/v1/me")).json()
    assert me["email"] == "admin@razorpay.com"
    assert (me["tenant"], me["clearance"]) == ("default", "INTERNAL")
    assert me["rights"] == ["admin", "declassify", "logs", "read", "teach", "upload"]


async def test_a_one_time_password_is_good_for_choosing_a_new_one_alone(gateway: RunningGateway) -> None:
    _, one_time = await _new_person(gateway, "new@example.com", "read")
    body = {"email": "new@example.com", "password": one_time}
    async with gateway.client() as client:
        refused = await client.post(LOGIN, json=body)
        assert refused.status_code == 403
        assert refused.json()["type"] == "urn:sluice:problem:password-change-required"
        assert (await client.post(LOGIN, json={**body, "new_password": "short"})).status_code == 422
        assert (await client.post(LOGIN, json={**body, "new_password": one_time})).status_code == 422
        chosen = await client.post(LOGIN, json={**body, "new_password": "a chosen password"})
        assert chosen.status_code == 200
        assert chosen.json()["person"]["rights"] == ["read"]
        assert (await client.post(LOGIN, json={**body, "new_password": "another password"})).status_code == 401
        assert (await client.post(LOGIN, json={**body, "password": "a chosen password"})).status_code == 200


async def test_a_new_password_ends_the_sessions_of_the_old_one(gateway: RunningGateway) -> None:
    old = await gateway.admin()
    new = await gateway.sign_in("admin@razorpay.com", ADMIN_PASSWORD, new_password="another admin's password")
    async with old, new:
        assert (await old.get("/api/v1/me")).status_code == 401
        assert (await new.get("/api/v1/me")).status_code == 200


async def test_an_unknown_address_answers_as_a_wrong_password_does_and_takes_as_long(
    tmp_path: Path, empty_valkey: RedisServer, office: Office
) -> None:
    """With passwords of their real cost, in which a look-up that is spared would show."""

    async def attempt(client: httpx2.AsyncClient, email: str) -> tuple[int, dict[str, object], float]:
        began = time.perf_counter()
        answer = await client.post(LOGIN, json={"email": email, "password": "not the password"})
        body = answer.json()
        del body["request_id"]
        return answer.status_code, body, time.perf_counter() - began

    settings = gateway_settings(tmp_path, empty_valkey.url)
    passwords = Argon2Passwords(PasswordHasher())
    async with running_gateway(settings, office, passwords=passwords) as gateway, gateway.client() as client:
        await attempt(client, "warm@example.com")
        known = [await attempt(client, "admin@razorpay.com") for _ in range(5)]
        unknown = [await attempt(client, f"nobody{number}@example.com") for number in range(5)]
    assert {status for status, _, _ in known + unknown} == {401}
    assert all(body == known[0][1] for _, body, _ in known + unknown)
    times = [statistics.median(seconds for _, _, seconds in group) for group in (known, unknown)]
    assert 0.4 < times[0] / times[1] < 2.5


async def test_too_many_failed_logins_of_an_address_are_throttled_even_with_the_right_password(
    any_gateway: RunningGateway,
) -> None:
    """On SQLite and on PostgreSQL."""
    async with any_gateway.client() as client:
        wrong = {"email": "admin@razorpay.com", "password": "not the password"}
        answers = await asyncio.gather(*(client.post(LOGIN, json=wrong) for _ in range(12)))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [401] * 10 + [429] * 2
        right = await client.post(LOGIN, json={**wrong, "password": ADMIN_PASSWORD})
        assert right.status_code == 429
        assert right.headers["Retry-After"]
        other = await client.post(LOGIN, json={**wrong, "email": "other@example.com"})
        assert other.status_code == 401


async def test_logging_out_ends_the_token_at_once(gateway: RunningGateway) -> None:
    """case 19: log-out kills the token, and no other one."""
    first, second = await gateway.admin(), await gateway.admin()
    async with first, second:
        assert (await first.post("/api/v1/auth/logout")).status_code == 204
        refused = await first.get("/api/v1/me")
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        assert (await second.get("/api/v1/me")).status_code == 200


async def test_a_suspended_person_is_signed_out_at_once_and_cannot_come_back(gateway: RunningGateway) -> None:
    """case 19: suspension kills sessions at once."""
    person = await gateway.person("leaver@example.com", "read")
    async with person, await gateway.admin() as admin:
        person_id = (await person.get("/api/v1/me")).json()["id"]
        assert (await admin.patch(f"/api/v1/people/{person_id}", json={"suspended": True})).json()["suspended"]
        assert (await person.get("/api/v1/me")).status_code == 401
        body = {"email": "leaver@example.com", "password": "a password of leaver@example.com"}
        assert (await person.post(LOGIN, json=body)).status_code == 401
        await admin.patch(f"/api/v1/people/{person_id}", json={"suspended": False})
        assert (await person.get("/api/v1/me")).status_code == 401, "the old token stays dead"
        assert (await person.post(LOGIN, json=body)).status_code == 200


async def test_an_expired_session_is_no_session(gateway: RunningGateway) -> None:
    async with await gateway.admin() as admin:
        async with gateway.adapters.database.write() as connection:
            await connection.execute(update(sessions).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
        assert (await admin.get("/api/v1/me")).status_code == 401


async def test_tokens_and_passwords_are_stored_as_hashes(gateway: RunningGateway) -> None:
    """case 22: what is in the database signs nobody in."""
    async with await gateway.admin() as admin:
        token = admin.headers["Authorization"].removeprefix("Bearer ")
    async with gateway.adapters.database.read() as connection:
        stored = (await connection.execute(select(sessions.c.token_sha256))).scalars().all()
        hashes = (await connection.execute(select(people.c.password_hash))).scalars().all()
    assert fingerprint(token) in stored
    assert token not in stored
    assert all(value.startswith("$argon2id$") and ADMIN_PASSWORD not in value for value in hashes)
    async with gateway.client(fingerprint(token)) as thief:
        assert (await thief.get("/api/v1/me")).status_code == 401


async def test_the_tenant_of_an_address_is_named_or_the_default_or_the_only_one(gateway: RunningGateway) -> None:
    await gateway.add_tenant("acme")
    await gateway.add_tenant("globex")
    for tenant in ("acme", "globex"):
        (await gateway.person("both@example.com", tenant=tenant)).headers.clear()
    await gateway.person("one@example.com", tenant="acme")
    async with gateway.client() as client:
        both = {"email": "both@example.com", "password": "a password of both@example.com"}
        assert (await client.post(LOGIN, json=both)).status_code == 401
        named = await client.post(LOGIN, json={**both, "tenant": "globex"})
        assert named.json()["person"]["tenant"] == "globex"
        one = await client.post(LOGIN, json={"email": "one@example.com", "password": "a password of one@example.com"})
        assert one.json()["person"]["tenant"] == "acme"


async def test_what_is_no_session_signs_nobody_in(gateway: RunningGateway) -> None:
    """The operators' token is no session either."""
    for token in ("x", OPERATOR_TOKEN, "../../etc/passwd", "é" * 40):
        async with gateway.client() as client:
            answer = await client.get("/api/v1/me", headers={"Authorization": f"Bearer {token}".encode()})
        assert answer.status_code == 401
        assert answer.json()["type"] == "urn:sluice:problem:not-signed-in"
