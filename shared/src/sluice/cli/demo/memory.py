"""What the demo keeps between two runs: passwords, for the owner's eyes alone."""

import json
import os
from pathlib import Path
from typing import Any


class Memory:
    """A JSON file; every change is written at once, so that an interrupted run can go on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, kind: str, name: str) -> str | None:
        return self._values.get(kind, {}).get(name)

    def keep(self, kind: str, name: str, value: str) -> None:
        self._values.setdefault(kind, {})[name] = value
        self._write()

    def forget(self, kind: str, name: str) -> None:
        if self._values.get(kind, {}).pop(name, None) is not None:
            self._write()

    def _write(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._path.with_suffix(".draft")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(self._values, file, indent=2)
        draft.replace(self._path)
