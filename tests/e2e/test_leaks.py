"""The leak self-test against the system as an operator starts it, at the operators' button."""

import json

import httpx2

from sluice.cli.selftest.ways import WAYS
from tests.e2e.conftest import System


def test_no_planted_sentence_is_seen_by_who_must_not(system: System) -> None:
    """Every way is tried, the page, the log search and the streams among them: page, gateway and `sluice` in a row."""
    token = (system.state / "keys" / "operator.token").read_text().strip()
    told: list[dict[str, str]] = []
    with (
        httpx2.Client(base_url=system.page, timeout=280, trust_env=False) as client,
        client.stream("POST", "/operator/leaks", data={"token": token}) as answer,
    ):
        told += [json.loads(line) for line in answer.iter_lines()]
    assert answer.status_code == 200, told
    shown = told[-1]["html"]
    assert "Nothing leaked." in shown, shown
    assert shown.count('<span class="good">held</span>') == len(WAYS), shown
    assert "<td>0</td>" not in shown, "each way was asked"
    tried = "".join(line["status"] for line in told[:-1])
    assert [way.name for way in WAYS if f"{way.name}: " not in tried] == []
    assert token not in json.dumps(told) + system.terminal()
    assert not [file for file in (system.state / "logs").iterdir() if token in file.read_text(errors="replace")]
