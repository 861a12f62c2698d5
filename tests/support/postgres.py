"""A real PostgreSQL in a temporary folder, as the user that it insists on."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

from tests.support.ports import free_port


def postgres_programs() -> Path | None:
    """Where initdb and pg_ctl are, if PostgreSQL's server is installed."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda folder: int(folder.parent.name))
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


@contextmanager
def running_postgres(programs: Path) -> Generator[str]:
    """The server's URL without a database: `postgresql+asyncpg://sluice@127.0.0.1:PORT/`."""
    folder, port = Path(mkdtemp(prefix="sluice-postgres-")), free_port()
    owner = _server_user()
    if owner:
        shutil.chown(folder, owner)
    data = folder / "data"
    _run(owner, folder, programs / "initdb", "-D", data, "-U", "sluice", "-A", "trust", "-E", "UTF8", "--no-sync")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    try:
        _run(owner, folder, programs / "pg_ctl", "-D", data, "-o", options, "-w", "-l", folder / "log", "start")
        yield f"postgresql+asyncpg://sluice@127.0.0.1:{port}/"
    finally:
        with suppress(subprocess.CalledProcessError):
            _run(owner, folder, programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def _server_user() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return None
    return next((name for name in ("postgres", "nobody") if _exists(name)), None)


def _exists(name: str) -> bool:
    with suppress(KeyError):
        return bool(pwd.getpwnam(name))
    return False


def _run(user: str | None, folder: Path, *command: object) -> None:
    output = folder / "commands.log"
    with output.open("ab") as log:
        subprocess.run([str(part) for part in command], check=True, cwd=folder, user=user, stdout=log, stderr=log)
