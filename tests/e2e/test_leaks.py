"""`sluice selftest leaks` against the system as an operator starts it."""

import json
import subprocess

from sluice.cli.selftest.ways import WAYS
from tests.e2e.conftest import System


def test_no_planted_sentence_is_seen_by_who_must_not(system: System) -> None:
    """Every way is tried, the page, the log search and the streams among them."""
    done = subprocess.run(
        system.sluice("selftest", "leaks", "--json"),
        env=system.environment,
        cwd=system.folder,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    wrong = [way for way in report["tried"] if way["seen"] or way["trespasses"] or way["untried"]]
    assert (report["ways"], report["canaries_seen"], report["lost"], wrong) == (len(WAYS), 0, [], [])
    assert all(way["requests"] for way in report["tried"])
    assert done.returncode == 0
