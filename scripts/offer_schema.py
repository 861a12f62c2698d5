"""Writes docs/producing/offer.schema.json from the models; with --check it fails where the file is another."""

import json
import sys
from pathlib import Path

from sluice.offers import wire_schema

FILE = Path(__file__).parents[1] / "docs" / "producing" / "offer.schema.json"


def text() -> str:
    return json.dumps(wire_schema(), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    if "--check" not in sys.argv:
        FILE.write_text(text())
    elif FILE.read_text() != text():
        sys.exit(f"{FILE.name} is not what the models say: run python -m scripts.offer_schema")


if __name__ == "__main__":
    main()
