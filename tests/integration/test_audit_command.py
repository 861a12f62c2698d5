"""`sluice audit` as an operator types it, and the HTTP API beneath it."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from gateway.models import audit
from sluice.audit import AuditRecord, Head
from tests.support.gateway import OPERATOR_TOKEN, RunningGateway
from tests.support.identity import Office

SLUICE = Path(sys.executable).with_name("sluice")
AUDIT = "/api/v1/audit"
Run = Callable[..., Awaitable[subprocess.CompletedProcess[str]]]


@pytest.fixture
def run(gateway: RunningGateway, office: Office, tmp_path: Path) -> Run:
    state = tmp_path / "operator"
    (state / "keys").mkdir(parents=True)
    (state / "keys" / "operator.token").write_text(OPERATOR_TOKEN)
    (state / "keys" / "passport.pub").write_bytes(office.public_key)
    environment = {**os.environ, "SLUICE_STATE_DIR": str(state), "SLUICE_GATEWAY_URL": gateway.url, "COLUMNS": "250"}

    def call(words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        command = [SLUICE, "audit", *words]
        return subprocess.run(
            command, check=False, env=environment, cwd=state, capture_output=True, text=True, timeout=120
        )

    return lambda *words: asyncio.to_thread(call, words)


async def test_verify_finds_what_was_changed_and_what_was_kept_elsewhere_and_is_gone(
    gateway: RunningGateway, run: Run, tmp_path: Path
) -> None:
    """case 46: the command's exit status and the record's number."""
    await gateway.add_tenant("pier")
    (await gateway.person("a@pier.example", "read", tenant="pier"))
    good = await run("verify", "--json")
    assert good.returncode == 0, good.stdout + good.stderr
    told = json.loads(good.stdout)
    assert (told["wrong"], {chain["tenant"] for chain in told["chains"]}) == (0, {"default", "pier", None})
    (tmp_path / "heads.json").write_text(good.stdout)
    [pier] = [chain["chain"] for chain in told["chains"] if chain["tenant"] == "pier"]
    async with gateway.adapters.database.write() as connection:
        second = (audit.c.chain == pier, audit.c.sequence == 2)
        await connection.execute(update(audit).where(*second).values(actor="nobody"))
    found = await run("verify", "--tenant", "pier")
    assert (found.returncode, "pier: record 2: was changed" in found.stdout) == (1, True), found.stdout
    assert (await run("verify", "--tenant", "default", "--heads", str(tmp_path / "heads.json"))).returncode == 0
    async with gateway.adapters.database.write() as connection:
        await connection.execute(delete(audit).where(audit.c.chain == pier))
    gone = await run("verify", "--heads", str(tmp_path / "heads.json"))
    assert (gone.returncode, "pier: record 1" in gone.stdout) == (1, True), gone.stdout


async def test_export_gives_json_lines_that_prove_themselves(gateway: RunningGateway, run: Run, office: Office) -> None:
    exported = await run("export", "--tenant", "default")
    assert exported.returncode == 0, exported.stderr
    *records, last = [json.loads(line) for line in exported.stdout.splitlines()]
    read = [AuditRecord(**record) for record in records]
    assert [record.sequence for record in read] == list(range(1, len(read) + 1))
    assert (read[0].action, read[-1].action) == ("tenant.added", "audit.exported")
    assert all(record.hash == record.computed for record in read)
    head = Head(**last["head"])
    assert (head.holds(office.verifier), head.hash) == (True, read[-1].hash)


async def test_an_admin_reads_their_own_tenants_records_page_by_page(gateway: RunningGateway) -> None:
    """case 8: and never another's."""
    await gateway.add_tenant("pier")
    async with await gateway.person("boss@razorpay.com", "admin", "read", tenant="pier") as admin:
        for number in range(3):
            await admin.post("/api/v1/people", json={"email": f"p{number}@pier.example", "rights": ["read"]})
        seen: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await admin.get(AUDIT, params={"limit": "2", **cursor})).json()
            seen += page["items"]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        added = (await admin.get(AUDIT, params={"action": "person.added"})).json()["items"]
    assert [record["sequence"] for record in seen] == list(range(len(seen), 0, -1))
    assert seen[-1]["action"] == "tenant.added"
    assert len(added) == 4
    async with gateway.adapters.database.read() as connection:
        ours = (await connection.execute(select(audit.c.hash).where(audit.c.tenant_id.is_not(None)))).scalars().all()
    assert len(ours) > len(seen)


async def test_records_are_for_internal_admins_and_chains_for_operators(gateway: RunningGateway) -> None:
    async with (
        await gateway.person("reader@razorpay.com", "read", "upload", "teach", "logs") as reader,
        await gateway.person("outside@example.com", "admin", "read") as outside,
        await gateway.admin() as admin,
    ):
        statuses = [(await client.get(AUDIT)).status_code for client in (reader, outside, admin)]
        chains = [(await client.get(f"{AUDIT}/chains")).status_code for client in (reader, admin)]
    assert (statuses, chains) == ([403, 403, 200], [401, 401])
    async with await gateway.operator() as operator:
        assert (await operator.get(f"{AUDIT}/chains/nobody/records")).status_code == 404
