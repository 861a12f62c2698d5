"""The gateway's rows, written and loaded by the gateway itself: it alone knows its database."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sluice.cli import environment as env
from sluice.errors import ConfigurationError, PermanentError

_DATABASE = "SLUICE_DATABASE_URL"


@dataclass(frozen=True)
class Rows:
    """Of the database of a state folder, or the one that `SLUICE_DATABASE_URL` names."""

    state: Path
    environment: Mapping[str, str]

    @property
    def elsewhere(self) -> bool:
        """Whether the state folder has no part of the database."""
        return bool(self.environment.get(_DATABASE))

    def write(self, folder: Path) -> dict[str, Any]:
        """All rows as of one moment; the revision and counts. Raises PermanentError, ConfigurationError."""
        if not self.elsewhere and not (self.state / "data" / "sluice.db").is_file():
            raise ConfigurationError(f"there is no database in {self.state / 'data'}: is this the state folder?")
        return self._run("write", str(folder.absolute()))

    def check(self, revision: str) -> None:
        """Raises PermanentError: rows of this revision cannot be loaded into this database."""
        self._run("check", revision)

    def load(self, folder: Path, revision: str) -> None:
        """All rows or none. Raises PermanentError."""
        self._run("load", str(folder.absolute()), revision)

    def _run(self, *words: str) -> dict[str, Any]:
        if importlib.util.find_spec("gateway") is None:
            raise ConfigurationError("the gateway is not installed here: run this where it is")
        given = env.base(self.environment) | {"SLUICE_STATE_DIR": str(self.state.absolute())}
        if self.elsewhere:
            given[_DATABASE] = self.environment[_DATABASE]
        command = (sys.executable, "-m", "gateway.dump", *words)
        ended = subprocess.run(command, env=given, capture_output=True, text=True, check=False)  # noqa: S603
        if ended.returncode != 0:
            last = (ended.stderr.strip().splitlines() or ["it ended without a word"])[-1]
            raise PermanentError(f"the database: {last}")
        return json.loads(ended.stdout)
