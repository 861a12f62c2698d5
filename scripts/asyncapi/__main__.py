"""Writes shared/src/sluice/asyncapi.json, which the gateway serves; with --check, fails when the code says otherwise.

usage: python -m scripts.asyncapi [--check]
"""

import json
import sys
from pathlib import Path

from scripts.asyncapi.document import document

FILE = Path("shared/src/sluice/asyncapi.json")


def main() -> int:
    text = json.dumps(document(), indent=1, ensure_ascii=False) + "\n"
    if "--check" not in sys.argv[1:]:
        FILE.write_text(text)
        return 0
    if FILE.exists() and FILE.read_text() == text:
        return 0
    print(f"{FILE} is not what the messages say: run `python -m scripts.asyncapi`")
    return 1


if __name__ == "__main__":
    sys.exit(main())
