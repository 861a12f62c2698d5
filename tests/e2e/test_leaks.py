"""The leak self-test against the system as an operator starts it, at the operators' button."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx2

from sluice.cli.selftest.ways import WAYS
from tests.e2e.conftest import System
from tests.support.waiting import wait_for


def test_no_planted_sentence_is_seen_by_who_must_not(system: System) -> None:
    """Every way is tried, the page, the log search and the streams among them: page, gateway and `sluice` in a row.

    One that is broken off before leaves nothing planted.
    """
    token = (system.state / "keys" / "operator.token").read_text().strip()
    with httpx2.Client(base_url=system.page, timeout=280, trust_env=False) as client:
        with look(client, token) as told:
            next(line for line in told if "planting" in line["status"])
        wait_for(lambda: looked(client, token), "a self-test after the one that was broken off", seconds=250)
    assert not [file for file in (system.state / "logs").iterdir() if token in file.read_text(errors="replace")]
    assert token not in system.terminal()
    wait_for(lambda: planted(system) == [], "the end of all that was planted", seconds=60)


def looked(client: httpx2.Client, token: str) -> bool:
    """False while another one is clearing up."""
    with look(client, token) as told:
        lines = list(told)
    shown = lines[-1]["html"]
    if "a self-test is running" in shown:
        return False
    assert "Nothing leaked." in shown, shown
    assert shown.count('<span class="good">held</span>') == len(WAYS), shown
    assert "<td>0</td>" not in shown, "each way was asked"
    tried = "".join(line["status"] for line in lines[:-1])
    assert [way.name for way in WAYS if f"{way.name}: " not in tried] == []
    assert token not in json.dumps(lines)
    return True


@contextmanager
def look(client: httpx2.Client, token: str) -> Iterator[Iterator[dict[str, str]]]:
    with client.stream("POST", "/operator/leaks", data={"token": token}) as answer:
        yield map(json.loads, answer.iter_lines())


def planted(system: System) -> list[Any]:
    """Documents of the tenants that a self-test made."""
    query = "SELECT d.id FROM documents d JOIN tenants t ON t.id = d.tenant_id WHERE t.slug LIKE 'leak-selftest-%'"
    with closing(sqlite3.connect(system.state / "data" / "sluice.db")) as database:
        return database.execute(query).fetchall()
