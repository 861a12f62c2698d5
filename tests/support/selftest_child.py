"""Plays the leak self-test: `python selftest_child.py FOLDER HABIT`. Tells its environment, and how it ended."""

import json
import os
import signal
import sys
import time
from pathlib import Path

REPORT = {"ways": 2, "canaries_seen": 0, "trespasses": 0, "untried": 0, "lost": [], "tried": []}


def main() -> None:
    folder, habit = Path(sys.argv[1]), sys.argv[2]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    (folder / "environment").write_text(json.dumps(dict(os.environ)))
    print("planting", file=sys.stderr, flush=True)
    try:
        while habit == "waits" and not (folder / "go").exists():
            time.sleep(0.01)
    finally:
        (folder / "ended").write_text("cleared up")
    if habit == "breaks":
        print("sluice: the gateway said no", file=sys.stderr)
        sys.exit(1)
    print("1/2 chat: 3 asked as 3", file=sys.stderr)
    print(json.dumps(REPORT if habit != "babbles" else ["no report"]))


if __name__ == "__main__":
    main()
