"""Tenants and people: who may make, change and see whom."""

import asyncio
from typing import Any

import httpx2
from sqlalchemy import select, update

from gateway.models import audit, people
from tests.support.gateway import OPERATOR_TOKEN, RunningGateway

PEOPLE = "/api/v1/people"


async def _add(client: httpx2.AsyncClient, email: str, *rights: str, **more: Any) -> httpx2.Response:
    return await client.post(PEOPLE, json={"email": email, "rights": list(rights), **more})


_LOOK_INTERNAL = [
    "a@razorpay.com.evil.com",
    "x@evilrazorpay.com",
    "a@sub.razorpay.com",
    "a@rаzorpay.com",
    "a@ｒazorpay.com",
    "a@razorpay.com.",
    "a@razorpay.com\0",
    "a@razorpay.com\n",
    "a@evil.com@razorpay.com",
    '"a@razorpay.com"@evil.com',
    '"a b"@razorpay.com',
    " a@razorpay.com",
]


async def test_an_address_that_only_looks_internal_is_external_or_refused(gateway: RunningGateway) -> None:
    """case 13: none of these is INTERNAL."""
    async with await gateway.admin() as admin:
        for email in _LOOK_INTERNAL:
            answer = await _add(admin, email)
            assert answer.status_code == 422 or answer.json()["clearance"] == "EXTERNAL", email


async def test_an_address_in_another_form_is_the_same_internal_person(gateway: RunningGateway) -> None:
    """case 13: `A+tag@RazorPay.COM` is INTERNAL, and is there once."""
    async with await gateway.admin() as admin:
        first = await _add(admin, "A+tag@RazorPay.COM")
        assert first.json()["email"] == "a+tag@razorpay.com"
        assert first.json()["clearance"] == "INTERNAL"
        assert (await _add(admin, "a+TAG@razorpay.com")).status_code == 409


async def test_an_unverified_address_is_external_from_the_next_request_on(gateway: RunningGateway) -> None:
    """case 14: clearance rests on a verified address, looked at each time."""
    person = await gateway.person("staff@razorpay.com", "read")
    async with person:
        assert (await person.get("/api/v1/me")).json()["clearance"] == "INTERNAL"
        async with gateway.adapters.database.write() as connection:
            await connection.execute(
                update(people).where(people.c.email == "staff@razorpay.com").values(email_verified=False)
            )
        assert (await person.get("/api/v1/me")).json()["clearance"] == "EXTERNAL"


async def test_a_body_cannot_name_what_is_not_its_own_to_say(gateway: RunningGateway) -> None:
    """cases 5 and 14: verification, clearance, tenant and id in a body are refused."""
    async with await gateway.admin() as admin:
        for field in ("email_verified", "clearance", "tenant", "id", "password"):
            answer = await _add(admin, "someone@example.com", **{field: "true"})
            assert answer.status_code == 422
            assert answer.json()["errors"] == [{"field": field, "message": "Extra inputs are not permitted"}]


async def test_an_address_cannot_be_changed_and_a_new_person_under_it_inherits_nothing(gateway: RunningGateway) -> None:
    """case 15: people are keyed by their id; the address carries no right."""
    old = await gateway.person("desk@razorpay.com", "read", "teach")
    async with old, await gateway.admin() as admin:
        old_id = (await old.get("/api/v1/me")).json()["id"]
        assert (await admin.patch(f"{PEOPLE}/{old_id}", json={"email": "ceo@razorpay.com"})).status_code == 422
        assert (await admin.delete(f"{PEOPLE}/{old_id}")).status_code == 204
        assert (await old.get("/api/v1/me")).status_code == 401
        new = await _add(admin, "desk@razorpay.com")
    assert new.json()["id"] != old_id
    assert new.json()["rights"] == []


async def test_nobody_becomes_an_admin_by_being_first_or_fast(gateway: RunningGateway) -> None:
    """case 16: fifty racing sign-ups make no admin, and no person at all."""
    await gateway.add_tenant("empty")
    async with gateway.client() as stranger:
        racing = [_add(stranger, f"racer{number}@razorpay.com", "admin") for number in range(50)]
        assert {answer.status_code for answer in await asyncio.gather(*racing)} == {401}
    first = await gateway.person("first@example.com", tenant="empty")
    async with first:
        assert (await first.get("/api/v1/me")).json()["rights"] == []
        assert (await first.get(PEOPLE)).status_code == 403


async def test_nobody_grants_a_right_that_they_lack(gateway: RunningGateway) -> None:
    helper = await gateway.person("helper@razorpay.com", "admin", "read")
    async with helper:
        refused = await _add(helper, "friend@example.com", "read", "logs")
        assert refused.status_code == 403
        assert "logs" in refused.json()["detail"]
        friend = (await _add(helper, "friend@example.com", "read")).json()["id"]
        assert (await helper.patch(f"{PEOPLE}/{friend}", json={"rights": ["operator"]})).status_code == 403
        assert (await helper.patch(f"{PEOPLE}/{friend}", json={"rights": ["admin"]})).status_code == 200
        me = (await helper.get("/api/v1/me")).json()["id"]
        assert (await helper.patch(f"{PEOPLE}/{me}", json={"rights": ["admin", "logs"]})).status_code == 403


async def test_an_external_admin_makes_and_changes_no_internal_person(gateway: RunningGateway) -> None:
    """Else they could sign in as one with the one-time password that they are told."""
    admin = await gateway.person("boss@example.com", "admin", "read")
    staff = await gateway.person("staff@razorpay.com", "read")
    async with admin, staff:
        assert (await _add(admin, "puppet@razorpay.com", "read")).status_code == 403
        staff_id = (await staff.get("/api/v1/me")).json()["id"]
        assert (await admin.patch(f"{PEOPLE}/{staff_id}", json={"suspended": True})).status_code == 403
        assert (await admin.delete(f"{PEOPLE}/{staff_id}")).status_code == 403


async def test_another_tenants_person_is_not_found_and_stays_as_they_are(gateway: RunningGateway) -> None:
    """case 1: another tenant's id gets the same 404 as a missing one."""
    await gateway.add_tenant("acme")
    other = await gateway.person("admin@acme.com", "admin", tenant="acme")
    async with other, await gateway.admin() as admin:
        other_id = (await other.get("/api/v1/me")).json()["id"]
        for method, body in (("GET", None), ("PATCH", {"suspended": True}), ("DELETE", None)):
            theirs = await admin.request(method, f"{PEOPLE}/{other_id}", json=body)
            missing = await admin.request(method, f"{PEOPLE}/{'0' * 32}", json=body)
            assert theirs.status_code == missing.status_code == 404
            assert theirs.json() | {"request_id": ""} == missing.json() | {"request_id": ""}
        assert (await other.get("/api/v1/me")).status_code == 200
        assert other_id not in {person["id"] for person in (await admin.get(PEOPLE)).json()["items"]}


async def test_people_are_listed_by_cursor_newest_first_each_once(gateway: RunningGateway) -> None:
    async with await gateway.admin() as admin:
        for number in range(4):
            await _add(admin, f"person{number}@example.com")
        found: list[str] = []
        cursor = None
        while True:
            params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            page = (await admin.get(PEOPLE, params=params)).json()
            found += [person["email"] for person in page["items"]]
            if not (cursor := page["next_cursor"]):
                break
        assert found == [f"person{number}@example.com" for number in (3, 2, 1, 0)] + ["admin@razorpay.com"]
        bad = await admin.get(PEOPLE, params={"cursor": "bm90IGEgY3Vyc29y"})
        assert bad.json()["errors"][0]["field"] == "cursor"


async def test_an_admin_cannot_shut_themselves_out(gateway: RunningGateway) -> None:
    async with await gateway.admin() as admin:
        me = (await admin.get("/api/v1/me")).json()["id"]
        assert (await admin.patch(f"{PEOPLE}/{me}", json={"suspended": True})).status_code == 409
        assert (await admin.delete(f"{PEOPLE}/{me}")).status_code == 409


async def test_operators_make_tenants_and_first_people_and_do_nothing_else(gateway: RunningGateway) -> None:
    async with gateway.client(OPERATOR_TOKEN) as operator:
        body = {"slug": "acme", "name": "Acme", "internal_domains": ["Acme.com"]}
        made = await operator.post("/api/v1/tenants", json=body)
        assert made.json()["internal_domains"] == ["acme.com"]
        assert (await operator.post("/api/v1/tenants", json=body)).status_code == 409
        assert (await operator.post("/api/v1/tenants", json={**body, "slug": "../x"})).status_code == 422
        bad = await operator.post("/api/v1/tenants", json={**body, "slug": "b", "internal_domains": ["*"]})
        assert bad.status_code == 422
        slugs = [tenant["slug"] for tenant in (await operator.get("/api/v1/tenants")).json()["items"]]
        assert slugs == ["acme", "default"]
        person = await operator.post("/api/v1/tenants/acme/people", json={"email": "a@acme.com", "rights": ["admin"]})
        assert person.json()["clearance"] == "INTERNAL"
        assert (await operator.post("/api/v1/tenants/no/people", json={"email": "a@b.co"})).status_code == 404
        for path in (PEOPLE, "/api/v1/me", "/api/v1/knowledge/documents", "/api/v1/chat/conversations"):
            assert (await operator.get(path)).status_code == 401
        assert (await operator.post("/api/v1/chat", json={"question": "Why?"})).status_code == 401


async def test_a_person_is_no_operator_whatever_their_rights(gateway: RunningGateway) -> None:
    async with await gateway.admin() as admin:
        assert (await admin.get("/api/v1/tenants")).status_code == 401
        assert (await admin.post("/api/v1/tenants", json={"slug": "x", "name": "X"})).status_code == 401


async def test_changes_of_people_stand_in_the_audit_log_without_a_password(gateway: RunningGateway) -> None:
    async with await gateway.admin() as admin:
        added = (await _add(admin, "new@example.com", "read")).json()
        await admin.patch(f"{PEOPLE}/{added['id']}", json={"rights": []})
        await admin.delete(f"{PEOPLE}/{added['id']}")
        me = (await admin.get("/api/v1/me")).json()["id"]
    async with gateway.adapters.database.read() as connection:
        rows = (await connection.execute(select(audit).order_by(audit.c.id))).mappings().all()
    told = [row for row in rows if row["target"] == added["id"]]
    assert [row["action"] for row in told] == ["person.added", "person.changed", "person.removed"]
    assert {row["actor"] for row in told} == {me}
    assert added["one_time_password"] not in str(rows)


async def test_a_person_is_found_by_their_address_in_any_form_and_in_their_tenant_alone(
    gateway: RunningGateway,
) -> None:
    """case 1: an address of another tenant's is nobody's."""
    await gateway.add_tenant("pier")
    theirs = await gateway.person("out@pier.example", "read", tenant="pier")
    async with theirs, await gateway.admin() as admin:
        added = (await _add(admin, "ann@example.com")).json()
        await _add(admin, "joann@example.com")
        for form in ("ann@example.com", "Ann@EXAMPLE.com"):
            found = (await admin.get(PEOPLE, params={"email": form})).json()["items"]
            assert [person["id"] for person in found] == [added["id"]], form
        assert (await admin.get(PEOPLE, params={"email": "out@pier.example"})).json()["items"] == []
        refused = await admin.get(PEOPLE, params={"email": "no address"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "email")
