"""API keys: made within what their maker has, told once, kept sealed, good for documents alone, ended at once."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import select, update

from gateway.models import api_keys, audit, jobs, tenants
from sluice.access import Level
from sluice.messages import DocumentSubmitted
from sluice.offers import key_digest
from tests.support.gateway import RunningGateway, Workers
from tests.support.producer import KEYS, make_key
from tests.support.waiting import until

DOCUMENTS = "/api/v1/knowledge/documents"


async def _upload(client: httpx2.AsyncClient, level: str = "INTERNAL") -> httpx2.Response:
    return await client.post(DOCUMENTS, files=[("files", ("a.txt", b"one")), ("access_level", (None, level))])


async def test_a_key_is_made_used_listed_and_revoked(any_gateway: RunningGateway, workers: Workers) -> None:
    """On SQLite and on PostgreSQL."""
    async with await any_gateway.admin() as admin:
        made = await make_key(admin)
        assert made["key"].startswith(f"sluice_{made['id']}_")
        async with any_gateway.client(made["key"]) as program:
            me = (await program.get("/api/v1/me")).json()
            assert (me["id"], me["tenant"], me["rights"]) == (made["id"], "default", ["read", "upload"])
            job = (await _upload(program)).json()["jobs"][0]
            submitted = await workers.take(DocumentSubmitted)
            assert submitted.request_id == job["job_id"]
            assert (await program.get(f"/api/v1/knowledge/jobs/{job['job_id']}")).status_code == 200
            assert [item["name"] for item in (await program.get(DOCUMENTS)).json()["items"]] == ["a.txt"]
            [listed] = (await admin.get(KEYS)).json()["items"]
            assert listed.pop("last_used_at")
            assert made.pop("last_used_at") is None
            assert listed == {name: value for name, value in made.items() if name != "key"}
            for _ in range(2):
                assert (await admin.delete(f"{KEYS}/{made['id']}")).status_code == 204
            assert (await program.get("/api/v1/me")).status_code == 401
        assert (await admin.get(KEYS)).json()["items"][0]["revoked_at"]
        me = (await admin.get("/api/v1/me")).json()["id"]
    async with any_gateway.adapters.database.read() as connection:
        rows = (await connection.execute(select(audit).where(audit.c.action.startswith("key.")))).all()
    assert [(row.action, row.actor, row.target) for row in rows] == [
        ("key.made", me, made["id"]),
        ("key.revoked", me, made["id"]),
    ]
    assert made["key"] not in str(rows)


async def test_keys_are_listed_by_page_the_newest_first(gateway: RunningGateway) -> None:
    async with await gateway.admin() as admin:
        made = [(await make_key(admin))["id"] for _ in range(3)]
        first = (await admin.get(KEYS, params={"limit": 2})).json()
        rest = (await admin.get(KEYS, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [key["id"] for key in first["items"] + rest["items"]] == made[::-1]


async def test_a_key_is_kept_as_its_digest_sealed_to_its_own_row(gateway: RunningGateway) -> None:
    """case 22: neither key nor digest stands in the database, and a copied row opens nothing."""
    async with await gateway.admin() as admin:
        first, second = await make_key(admin), await make_key(admin)
    digest = key_digest(first["key"])
    async with gateway.adapters.database.read() as connection:
        row = (await connection.execute(select(api_keys).where(api_keys.c.id == first["id"]))).mappings().one()
    sealed = base64.b64decode(row["sealed_digest"])
    assert digest not in sealed
    opened = gateway.adapters.keyring.open(
        sealed, tenant="default", level=Level.INTERNAL, row_id=f"api-keys/{first['id']}"
    )
    assert opened == digest
    for file in gateway.settings.data_dir.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        assert first["key"].split("_")[2].encode() not in content
        assert digest.hex().encode() not in content
    async with gateway.adapters.database.write() as connection:
        stolen = update(api_keys).where(api_keys.c.id == second["id"]).values(sealed_digest=row["sealed_digest"])
        await connection.execute(stolen)
    async with gateway.client(second["key"]) as program:
        assert (await program.get("/api/v1/me")).status_code == 500


async def test_nobody_makes_a_key_for_more_than_they_may_themselves(gateway: RunningGateway) -> None:
    """case 7: neither a right, nor a clearance, nor another tenant; and no key has a right that only people use."""
    admin = await gateway.person("boss@example.com", "read", "admin")
    async with admin:
        body: dict[str, Any] = {"name": "k", "rights": ["read"], "clearance": "EXTERNAL"}
        assert (await admin.post(KEYS, json=body)).status_code == 201
        past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
        refused = [
            ({"rights": ["read", "upload"]}, 403),
            ({"clearance": "INTERNAL"}, 403),
            ({"rights": ["admin"]}, 422),
            ({"tenant": "acme"}, 422),
            ({"expires_at": past}, 422),
            ({"expires_at": "2099-01-01T00:00:00"}, 422),
            ({"name": ""}, 422),
        ]
        for change, status in refused:
            answer = await admin.post(KEYS, json={**body, **change})
            assert answer.status_code == status, change
        assert len((await admin.get(KEYS)).json()["items"]) == 1
    async with await gateway.person("reader@razorpay.com", "read", "upload") as reader:
        for method, path in (("POST", KEYS), ("GET", KEYS), ("DELETE", f"{KEYS}/key-1")):
            assert (await reader.request(method, path, json=body)).status_code == 403


async def test_the_keys_of_another_tenant_or_a_higher_clearance_are_not_ones_own(gateway: RunningGateway) -> None:
    """cases 1 and 8."""
    await gateway.add_tenant("acme")
    async with await gateway.admin() as admin, await gateway.person("x@example.com", "admin") as lower:
        made = await make_key(admin)
        async with await gateway.person("boss@razorpay.com", "read", "upload", "admin", tenant="acme") as other:
            assert (await other.get(KEYS)).json()["items"] == []
            assert (await other.delete(f"{KEYS}/{made['id']}")).status_code == 404
            assert (await other.delete(f"{KEYS}/key-1")).status_code == 404
            theirs = await make_key(other)
        assert (await lower.delete(f"{KEYS}/{made['id']}")).status_code == 403
        job = (await _upload(admin)).json()["jobs"][0]
        async with gateway.client(theirs["key"]) as program:
            assert (await program.get(DOCUMENTS)).json()["items"] == []
            for path in (f"{DOCUMENTS}/{job['document_id']}", f"/api/v1/knowledge/jobs/{job['job_id']}"):
                assert (await program.get(path)).status_code == 404
        async with gateway.client(made["key"]) as program:
            assert (await program.get("/api/v1/me")).status_code == 200


async def test_a_key_is_for_documents_and_for_nothing_else(gateway: RunningGateway) -> None:
    async with await gateway.admin() as admin:
        made = await make_key(admin)
    for_people = [
        ("POST", "/api/v1/chat", {"question": "How long?"}),
        ("GET", "/api/v1/chat/conversations", None),
        ("GET", "/api/v1/people", None),
        ("GET", KEYS, None),
        ("POST", KEYS, {"name": "k", "rights": ["read"], "clearance": "EXTERNAL"}),
        ("GET", "/api/v1/knowledge/fixes", None),
        ("POST", "/api/v1/auth/logout", None),
        ("POST", "/api/v1/logs/search", {"query": "error"}),
    ]
    async with gateway.client(made["key"]) as program:
        for method, path, body in for_people:
            answer = await program.request(method, path, json=body)
            assert (answer.status_code, "API key" in answer.json()["detail"]) == (403, True), path
        assert (await program.get("/api/v1/tenants")).status_code == 401


async def test_a_key_does_what_its_rights_and_its_level_allow(gateway: RunningGateway) -> None:
    """case 3: and no more."""
    async with await gateway.admin() as admin:
        secret = (await _upload(admin)).json()["jobs"][0]
        reader, uploader = await make_key(admin, "read"), await make_key(admin, "upload", clearance="EXTERNAL")
    async with gateway.client(reader["key"]) as program:
        assert (await _upload(program)).status_code == 403
        assert (await program.get(DOCUMENTS)).status_code == 200
    async with gateway.client(uploader["key"]) as program:
        assert (await program.get(DOCUMENTS)).status_code == 403
        assert (await _upload(program)).status_code == 403
        assert (await _upload(program, "EXTERNAL")).status_code == 202
        assert (await program.get(f"/api/v1/knowledge/jobs/{secret['job_id']}")).status_code == 404


async def test_what_is_not_the_whole_key_is_nobody(gateway: RunningGateway) -> None:
    """cases 17 and 18."""
    async with await gateway.admin() as admin:
        key, other = (await make_key(admin))["key"], (await make_key(admin))["key"]
    prefix, key_id, secret = key.split("_")
    wrong = [
        f"{prefix}_{key_id}_{'0' * 64}",
        f"{prefix}_{other.split('_')[1]}_{secret}",
        f"{prefix}_key-{'0' * 24}_{secret}",
        f"{prefix}_{key_id}_{secret[:-1]}",
        f"{key}0",
        key.upper(),
        secret,
        key_digest(key).hex(),
    ]
    for token in wrong:
        async with gateway.client(token) as nobody:
            assert (await nobody.get("/api/v1/me")).status_code == 401, token


@pytest.mark.parametrize("how", ["expired", "tenant suspended"])
async def test_a_key_ends_with_its_time_and_its_tenant(gateway: RunningGateway, how: str) -> None:
    """case 19."""
    async with await gateway.admin() as admin:
        made = await make_key(admin, expires_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    now = datetime.now(UTC)
    change = update(api_keys).values(expires_at=now) if how == "expired" else update(tenants).values(suspended_at=now)
    async with gateway.client(made["key"]) as program:
        assert (await program.get("/api/v1/me")).status_code == 200
        async with gateway.adapters.database.write() as connection:
            await connection.execute(change)
        assert (await program.get("/api/v1/me")).status_code == 401


async def test_a_stream_of_a_job_ends_when_its_key_is_revoked(gateway: RunningGateway, workers: Workers) -> None:
    async with await gateway.admin() as admin:
        made = await make_key(admin)
        async with gateway.client(made["key"]) as program:
            job = (await _upload(program)).json()["jobs"][0]
            async with program.stream("GET", f"/api/v1/knowledge/jobs/{job['job_id']}/events") as events:
                lines = events.aiter_lines()
                assert await anext(lines) == "event: progress"
                await admin.delete(f"{KEYS}/{made['id']}")
                rest = [line async for line in lines]
    assert "event: error" in rest
    assert any("not-signed-in" in line for line in rest)


async def test_what_a_key_has_begun_is_not_published_after_it_was_revoked(
    gateway: RunningGateway, workers: Workers
) -> None:
    """The reconciler looks at the key's rights as they are now."""
    async with await gateway.admin() as admin:
        made = await make_key(admin)
        async with gateway.client(made["key"]) as program:
            job = (await _upload(program)).json()["jobs"][0]
        await workers.take(DocumentSubmitted)
        await admin.delete(f"{KEYS}/{made['id']}")
        async with gateway.adapters.database.write() as connection:
            await connection.execute(
                update(jobs).where(jobs.c.id == job["job_id"]).values(published_at=None, run=jobs.c.run + 1)
            )

        async def failed() -> bool:
            return (await admin.get(f"/api/v1/knowledge/jobs/{job['job_id']}")).json()["state"] == "failed"

        await until(failed, seconds=20, what="the job's end")
        assert workers.idle()


async def test_a_rotated_key_has_a_new_secret_and_the_old_one_is_good_for_the_overlap(
    any_gateway: RunningGateway,
) -> None:
    """On SQLite and on PostgreSQL; without an overlap the old one ends at once."""
    async with await any_gateway.admin() as admin:
        made = await make_key(admin)
        rotated = (await admin.post(f"{KEYS}/{made['id']}/rotate", json={"overlap_seconds": 600})).json()
        assert (rotated["id"], rotated["key"] == made["key"]) == (made["id"], False)
        for text in (made["key"], rotated["key"]):
            async with any_gateway.client(text) as program:
                assert (await program.get("/api/v1/me")).status_code == 200
        async with any_gateway.adapters.database.write() as connection:
            await connection.execute(update(api_keys).values(previous_until=datetime.now(UTC)))
        again = (await admin.post(f"{KEYS}/{made['id']}/rotate", json={})).json()
        for text, status in ((made["key"], 401), (rotated["key"], 401), (again["key"], 200)):
            async with any_gateway.client(text) as program:
                assert (await program.get("/api/v1/me")).status_code == status
        assert (await admin.post(f"{KEYS}/{made['id']}/rotate", json={"overlap_seconds": 604_801})).status_code == 422
        assert (await admin.delete(f"{KEYS}/{made['id']}")).status_code == 204
        assert (await admin.post(f"{KEYS}/{made['id']}/rotate", json={})).status_code == 409


async def test_nobody_is_told_a_rotated_key_with_more_rights_than_they_have(gateway: RunningGateway) -> None:
    """case 7: an admin without the right to upload rotates no key that has it."""
    async with await gateway.admin() as admin, await gateway.person("a@razorpay.com", "read", "admin") as lesser:
        made = await make_key(admin)
        assert (await lesser.post(f"{KEYS}/{made['id']}/rotate", json={})).status_code == 403


async def test_a_key_has_no_more_than_its_maker_has_now(gateway: RunningGateway) -> None:
    """case 19: fewer rights at the next request; none at all while its maker is suspended, or gone."""
    boss = await gateway.person("boss@razorpay.com", "read", "upload", "admin")
    async with boss, await gateway.admin() as admin:
        made = await make_key(boss)
        maker = f"/api/v1/people/{made['created_by']}"
        async with gateway.client(made["key"]) as program:
            assert (await admin.patch(maker, json={"rights": ["read", "admin"]})).status_code == 200
            assert (await program.get("/api/v1/me")).json()["rights"] == ["read"]
            assert (await _upload(program)).status_code == 403
            for suspended, status in ((True, 401), (False, 200)):
                assert (await admin.patch(maker, json={"suspended": suspended})).status_code == 200
                assert (await program.get("/api/v1/me")).status_code == status
                assert (await admin.get(KEYS)).json()["items"][0]["active"] is not suspended
            async with gateway.adapters.database.write() as connection:
                await connection.execute(update(tenants).values(internal_domains=["example.org"]))
            assert (await program.get("/api/v1/me")).json()["clearance"] == "EXTERNAL"
            async with gateway.adapters.database.write() as connection:
                await connection.execute(update(tenants).values(internal_domains=["razorpay.com"]))
            assert (await admin.delete(maker)).status_code == 204
            assert (await program.get("/api/v1/me")).status_code == 401


async def test_the_last_use_of_a_key_is_written_once_a_minute(gateway: RunningGateway) -> None:
    async with await gateway.admin() as admin:
        made = await make_key(admin)
        async with gateway.client(made["key"]) as program:
            await program.get("/api/v1/me")
            [first] = (await admin.get(KEYS)).json()["items"]
            await program.get("/api/v1/me")
            [second] = (await admin.get(KEYS)).json()["items"]
            assert first["last_used_at"] == second["last_used_at"]
            async with gateway.adapters.database.write() as connection:
                before = datetime.now(UTC) - timedelta(minutes=2)
                await connection.execute(update(api_keys).values(last_used_at=before))
            await program.get("/api/v1/me")
            [third] = (await admin.get(KEYS)).json()["items"]
    assert third["last_used_at"] > first["last_used_at"]
