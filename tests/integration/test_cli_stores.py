"""The real Valkey and the real Chroma servers under the supervisor."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import chromadb.errors
import pytest
import redis

from sluice.acl import users
from tests.support.index import client
from tests.support.ports import free_port
from tests.support.waiting import until

SYSTEM = Path(__file__).parents[1] / "support" / "cli_system.py"


class Stores:
    def __init__(self, state: Path) -> None:
        self.state = state
        names = ("VALKEY", "CHROMA_EXTERNAL", "CHROMA_INTERNAL")
        self.ports = {name: free_port() for name in names}
        self.environment = {**os.environ, **{f"SLUICE_{name}_PORT": str(port) for name, port in self.ports.items()}}
        self.environment["SLUICE_STATE_DIR"] = str(state)
        self.command = [sys.executable, str(SYSTEM), str(state), "stores"]

    @contextmanager
    def running(self) -> Generator[subprocess.Popen[str]]:
        supervisor = subprocess.Popen(self.command, env=self.environment, stdout=subprocess.PIPE, text=True)
        assert supervisor.stdout is not None
        try:
            assert any("welcome" in line for line in supervisor.stdout)
            yield supervisor
        finally:
            supervisor.send_signal(signal.SIGINT)
            said, _ = supervisor.communicate(timeout=30)
        assert supervisor.returncode == 0, said

    def valkey(self) -> redis.Redis:
        password = (self.state / "keys/redis/operator.password").read_text()
        port = self.ports["VALKEY"]
        return redis.Redis(port=port, username="operator", password=password, decode_responses=True)


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stores:
    monkeypatch.chdir(tmp_path)
    return Stores(tmp_path / "state")


def test_a_file_of_chroma_does_not_grow_beyond_its_limit(stores: Stores) -> None:
    """The limit is below what its database takes: a write fails, the server does not end, and the file stays small."""
    stores.environment["SLUICE_CHROMA_FILE_BYTES"] = str(2**20)
    with stores.running():
        collection = client(stores.ports["CHROMA_EXTERNAL"]).create_collection("large", embedding_function=None)
        numbers = [str(number) for number in range(100)]
        with pytest.raises(chromadb.errors.InternalError):
            collection.add(ids=numbers, embeddings=[[1.0]] * 100, documents=["x" * 50_000] * 100)
        assert client(stores.ports["CHROMA_EXTERNAL"]).heartbeat()
    files = [file for file in (stores.state / "data" / "chroma-external").rglob("*") if file.is_file()]
    assert files
    assert all(file.stat().st_size <= 2**20 for file in files)


def test_two_chroma_servers_answer_and_keep_their_data_apart(stores: Stores, tmp_path: Path) -> None:
    with stores.running():
        for name in ("CHROMA_EXTERNAL", "CHROMA_INTERNAL"):
            with urllib.request.urlopen(f"http://127.0.0.1:{stores.ports[name]}/api/v2/heartbeat") as answer:
                assert answer.status == 200
    assert (tmp_path / "state/data/chroma-external/chroma.sqlite3").exists()
    assert (tmp_path / "state/data/chroma-internal/chroma.sqlite3").exists()


def test_valkey_fsyncs_every_write_and_finds_all_again_after_a_stop(stores: Stores) -> None:
    with stores.running():
        assert stores.valkey().config_get("appendfsync") == {"appendfsync": "always"}
        stores.valkey().set("kept", "yes")
    with stores.running():
        assert stores.valkey().get("kept") == "yes"


async def test_valkey_killed_with_9_comes_back_with_all_it_acknowledged(stores: Stores) -> None:
    with stores.running():
        pid = stores.valkey().info("server")["process_id"]
        stores.valkey().set("kept", "yes")
        os.kill(pid, signal.SIGKILL)
        await until(lambda: stores.valkey().get("kept") == "yes", what="Valkey is back with its data")


def test_valkey_listens_on_loopback_alone_and_knows_its_users_alone(stores: Stores) -> None:
    """case 44: who names no user is refused, and each user's password stands in a file of its own."""
    with stores.running():
        assert stores.valkey().config_get("bind") == {"bind": "127.0.0.1"}
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=stores.ports["VALKEY"]).ping()
        assert set(stores.valkey().acl_users()) == {*users(), "default"}
    files = list((stores.state / "keys/redis").iterdir())
    assert {file.name for file in files} == {"users.acl", *(f"{user}.password" for user in users())}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert not [file for file in files if file.suffix == ".password" and file.read_text() in _acl(stores)]


def _acl(stores: Stores) -> str:
    return (stores.state / "keys/redis/users.acl").read_text()
