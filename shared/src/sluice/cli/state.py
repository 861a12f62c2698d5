"""The state folder: all that a system on one machine keeps."""

from dataclasses import dataclass
from pathlib import Path

from sluice.access import Level


@dataclass(frozen=True)
class StateFolder:
    """Paths under the state folder; only its owner may enter it."""

    root: Path

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def data_keys(self) -> Path:
        """The wrapped ones, which rows are sealed with."""
        return self.data / "keys"

    @property
    def blobs(self) -> Path:
        return self.data / "blobs"

    @property
    def valkey(self) -> Path:
        return self.data / "valkey"

    def chroma(self, level: Level) -> Path:
        return self.data / f"chroma-{level.lower()}"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def lock(self) -> Path:
        return self.run / "sluice.lock"

    @property
    def pids(self) -> Path:
        return self.run / "pids"

    @property
    def operator_token(self) -> Path:
        return self.keys / "operator.token"

    @property
    def redis_users(self) -> Path:
        """The ACL file and the users' passwords."""
        return self.keys / "redis"

    @property
    def redis_acl(self) -> Path:
        return self.redis_users / "users.acl"

    def redis_password(self, user: str) -> Path:
        return self.redis_users / f"{user}.password"

    @property
    def gateway(self) -> Path:
        """What the gateway leaves for whoever operates it."""
        return self.run / "gateway"

    @property
    def first_admin_password(self) -> Path:
        return self.gateway / "first-admin-password"

    def create(self) -> None:
        """Make what is missing.

        Raises:
            OSError: the folder cannot be made or written.
        """
        for folder in (self.root, self.keys, self.data, self.logs, self.run, self.pids):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
