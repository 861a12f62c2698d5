"""`python -m tests.chaos [pytest's arguments]`: every scenario at its full size; the last line is JSON.

It ends with a status other than 0 when a scenario failed, or anything was lost, done twice or never answered.
"""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.chaos.report import Report


def main() -> int:
    os.environ.setdefault("SLUICE_CHAOS_LONG", "1")
    report = Report()
    where = [] if any(Path(a.partition("::")[0]).exists() for a in sys.argv[1:]) else [str(Path(__file__).parent)]
    status = pytest.main([*where, "-v", "-p", "no:cacheprovider", *sys.argv[1:]], plugins=[report])
    print(json.dumps(report.total()), flush=True)
    return int(status) or int(not report.clean)


if __name__ == "__main__":
    sys.exit(main())
