"""Which right each route takes: the table, and that it holds."""

import re
from typing import Any

import httpx2
from sqlalchemy import select

from gateway.models import audit
from sluice.access import Right
from tests.support.gateway import OPERATOR_TOKEN, RunningGateway

API = "/api/v1"
EVERYBODY, SIGNED_IN, OPERATOR = "everybody", "signed in", "the operators' token"
ROUTES: dict[str, str | Right] = {
    "GET /healthz": EVERYBODY,
    "GET /readyz": EVERYBODY,
    "GET /metrics": EVERYBODY,
    f"POST {API}/auth/login": EVERYBODY,
    f"POST {API}/auth/logout": SIGNED_IN,
    f"POST {API}/auth/logout-everywhere": SIGNED_IN,
    f"GET {API}/auth/ways": EVERYBODY,
    f"POST {API}/auth/oidc/{{issuer}}/begin": EVERYBODY,
    f"POST {API}/auth/oidc/{{issuer}}/finish": EVERYBODY,
    f"POST {API}/auth/links/look": EVERYBODY,
    f"POST {API}/auth/links/use": EVERYBODY,
    f"POST {API}/auth/forgotten": EVERYBODY,
    f"POST {API}/auth/sign-up": EVERYBODY,
    f"GET {API}/me": SIGNED_IN,
    f"POST {API}/chat": Right.READ,
    f"GET {API}/chat/requests/{{request_id}}/events": Right.READ,
    f"DELETE {API}/chat/requests/{{request_id}}": Right.READ,
    f"GET {API}/chat/conversations": Right.READ,
    f"GET {API}/chat/conversations/{{conversation_id}}": Right.READ,
    f"PATCH {API}/chat/conversations/{{conversation_id}}": Right.READ,
    f"DELETE {API}/chat/conversations/{{conversation_id}}": Right.READ,
    f"POST {API}/chat/answers/{{answer_id}}/feedback": Right.READ,
    f"GET {API}/knowledge/documents": Right.READ,
    f"GET {API}/knowledge/documents/{{document_id}}": Right.READ,
    f"POST {API}/knowledge/documents": Right.UPLOAD,
    f"PATCH {API}/knowledge/documents/{{document_id}}": Right.UPLOAD,
    f"DELETE {API}/knowledge/documents/{{document_id}}": Right.UPLOAD,
    f"GET {API}/knowledge/jobs/{{job_id}}": Right.UPLOAD,
    f"GET {API}/knowledge/jobs/{{job_id}}/events": Right.UPLOAD,
    f"POST {API}/knowledge/fixes": Right.TEACH,
    f"GET {API}/knowledge/fixes": Right.TEACH,
    f"GET {API}/knowledge/fixes/{{fix_id}}": Right.TEACH,
    f"DELETE {API}/knowledge/fixes/{{fix_id}}": Right.TEACH,
    f"POST {API}/logs/search": Right.LOGS,
    f"POST {API}/people": Right.ADMIN,
    f"GET {API}/people": Right.ADMIN,
    f"GET {API}/people/{{person_id}}": Right.ADMIN,
    f"PATCH {API}/people/{{person_id}}": Right.ADMIN,
    f"DELETE {API}/people/{{person_id}}": Right.ADMIN,
    f"DELETE {API}/people/{{person_id}}/sessions": Right.ADMIN,
    f"POST {API}/people/{{person_id}}/links": Right.ADMIN,
    f"POST {API}/invitations": Right.ADMIN,
    f"GET {API}/tenant": Right.ADMIN,
    f"PATCH {API}/tenant": Right.ADMIN,
    f"POST {API}/keys": Right.ADMIN,
    f"GET {API}/keys": Right.ADMIN,
    f"DELETE {API}/keys/{{key_id}}": Right.ADMIN,
    f"POST {API}/keys/{{key_id}}/rotate": Right.ADMIN,
    f"GET {API}/audit": Right.ADMIN,
    f"GET {API}/audit/explain": Right.ADMIN,
    f"GET {API}/audit/chains": OPERATOR,
    f"GET {API}/audit/chains/{{chain}}/records": OPERATOR,
    f"POST {API}/tenants": OPERATOR,
    f"GET {API}/tenants": OPERATOR,
    f"PATCH {API}/tenants/{{slug}}": OPERATOR,
    f"POST {API}/tenants/{{slug}}/people": OPERATOR,
    f"GET {API}/dead-letters": OPERATOR,
    f"DELETE {API}/dead-letters": OPERATOR,
    f"POST {API}/dead-letters/replay": OPERATOR,
    f"GET {API}/dead-letters/{{stream}}/{{letter_id}}": OPERATOR,
    f"POST {API}/dead-letters/{{stream}}/{{letter_id}}/replay": OPERATOR,
    f"DELETE {API}/dead-letters/{{stream}}/{{letter_id}}": OPERATOR,
    f"POST {API}/indexes/rebuild": OPERATOR,
    f"POST {API}/indexes/verify": OPERATOR,
    f"GET {API}/indexes/tasks/{{task_id}}": OPERATOR,
    f"POST {API}/selftest/leaks": OPERATOR,
}
_FOR_KEYS = f"{API}/knowledge/offers"
"""What is for API keys alone: a person is refused, whatever their rights."""
GRANTED = [right for right in Right if right is not Right.OPERATOR]


async def test_each_route_stands_in_the_table_of_rights(gateway: RunningGateway) -> None:
    async with gateway.client() as anybody:
        paths = (await anybody.get("/openapi.json")).json()["paths"]
    served = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert {route for route in served if _FOR_KEYS not in route} - {"GET /asyncapi", "GET /asyncapi.json"} == set(
        ROUTES
    )


async def test_a_route_is_refused_to_who_has_every_right_but_its_own(gateway: RunningGateway) -> None:
    """An operator's route to every person, a tenant's to the operators, and all but a few to who is not signed in."""
    people = {
        right: await gateway.person(f"no-{right}@razorpay.com", *(other for other in GRANTED if other is not right))
        for right in {needed for needed in ROUTES.values() if isinstance(needed, Right)}
    }
    async with gateway.client() as nobody, gateway.client(OPERATOR_TOKEN) as operator, await gateway.admin() as admin:
        for route, needed in ROUTES.items():
            if needed is EVERYBODY:
                continue
            assert await _status(nobody, route) == 401, route
            if needed is OPERATOR:
                assert await _status(admin, route) == 401, route
                assert await _status(operator, route) != 401, route
                continue
            assert await _status(operator, route) == 401, route
            if isinstance(needed, Right):
                assert await _status(people[needed], route) == 403, route
                assert await _status(admin, route) not in (401, 403), route
    for person in people.values():
        await person.aclose()


async def _status(client: httpx2.AsyncClient, route: str) -> int:
    """With ids that nothing has, and a body that nothing takes."""
    method, path = route.split(" ")
    body: Any = {"x": 1} if method in ("POST", "PATCH") else None
    return (await client.request(method, re.sub(r"{\w+}", "0-0", path), json=body)).status_code


async def test_nobody_is_made_an_operator(gateway: RunningGateway) -> None:
    """Not by the operators, and not by the first admin, who has every other right."""
    async with gateway.client(OPERATOR_TOKEN) as operator, await gateway.admin() as admin:
        assert set((await admin.get(f"{API}/me")).json()["rights"]) == set(GRANTED)
        body = {"email": "new@razorpay.com", "rights": ["read", "operator"]}
        assert (await admin.post(f"{API}/people", json=body)).status_code == 403
        refused = await operator.post(f"{API}/tenants/default/people", json=body)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "rights")


async def test_what_internal_people_teach_is_internal_unless_its_sources_are_not_or_somebody_may_declassify_it(
    gateway: RunningGateway,
) -> None:
    """A fix without sources, or with INTERNAL ones, may tell what its teacher read as INTERNAL."""
    fixes, documents = f"{API}/knowledge/fixes", f"{API}/knowledge/documents"
    teacher = await gateway.person("teacher@razorpay.com", "teach")
    async with teacher, await gateway.admin() as admin:
        ids: dict[str, str] = {}
        for level in ("INTERNAL", "EXTERNAL"):
            files: list[Any] = [("files", ("a.txt", b"a")), ("access_level", (None, level))]
            ids[level] = (await admin.post(documents, files=files)).json()["jobs"][0]["document_id"]
        fix: dict[str, Any] = {"question": "How long?", "answer": "Forty days.", "access_level": "EXTERNAL"}
        for sources in ([], [ids["INTERNAL"]], [ids["INTERNAL"], ids["EXTERNAL"]], ["0" * 32]):
            refused = await teacher.post(fixes, json={**fix, "sources": sources})
            assert (refused.status_code, "declassify" in refused.json()["detail"]) == (403, True), sources
        assert (await teacher.post(fixes, json={**fix, "sources": [ids["EXTERNAL"]]})).status_code == 202
        assert (await teacher.post(fixes, json={**fix, "access_level": "INTERNAL"})).status_code == 202
        declassified = (await admin.post(fixes, json=fix)).json()["id"]
    async with gateway.adapters.database.read() as connection:
        rows = (await connection.execute(select(audit.c.action, audit.c.target))).all()
    assert [tuple(row) for row in rows if row[1] == declassified] == [("fix.declassified", declassified)]
