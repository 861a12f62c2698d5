"""What the parser's child may not do, whatever a document made it run."""

import asyncio
import platform
import socket
import sys
from pathlib import Path

import pytest

from ingest_worker.adapters.parser_process import ParserProcess
from ingest_worker.confinement import confine, landlock_version
from ingest_worker.documents import ParserLimits
from ingest_worker.isolation import can_isolate, isolate
from sluice.errors import TransientError, UnreadableDocumentError
from tests.support.parser_child import child

_ATTACK = """
import socket, subprocess
from ingest_worker import parser
from sluice.errors import UnreadableDocumentError

def attack(data, name):
    told = []
    for attempt in (
        lambda: socket.create_connection(("127.0.0.1", {port})),
        lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
        lambda: socket.socket(socket.AF_UNIX),
        lambda: subprocess.run(["/bin/true"]),
        lambda: os.execv("/bin/true", ["true"]),
    ):
        try:
            attempt()
        except PermissionError:
            told.append("refused")
    raise UnreadableDocumentError(" ".join(told))

parser.kind_of = attack
parser.main()
"""


@pytest.mark.skipif(not can_isolate(), reason="there is no seccomp on this machine")
async def test_code_that_a_document_made_its_parser_run_reaches_nobody_and_starts_no_program(tmp_path: Path) -> None:
    """cases 32, 33: should a parser be taken over: no socket of any kind, no other program."""
    asked: list[object] = []
    listening = await asyncio.start_server(lambda *streams: asked.append(streams), "127.0.0.1", 0)
    async with listening:
        program = _ATTACK.format(port=listening.sockets[0].getsockname()[1])
        with pytest.raises(UnreadableDocumentError, match=r"^refused refused refused refused refused$"):
            await child(tmp_path, program)(b"x", "a.txt")
    assert asked == []


_THEFT = """
from ingest_worker import parser
from sluice.errors import UnreadableDocumentError

def steal(data, name):
    told = []
    for attempt in (
        lambda: open({secret!r}).read(),
        lambda: open({secret!r}, "w"),
        lambda: os.truncate({secret!r}, 0),
        lambda: os.chmod({secret!r}, 0o777),
        lambda: list(pathlib.Path("/etc").iterdir()),
        lambda: open("/etc/passwd"),
        lambda: open(f"/proc/{{os.getppid()}}/environ"),
        lambda: open(f"/proc/{{os.getppid()}}/mem", "wb"),
        lambda: open({folder!r} + "/new", "w"),
        lambda: os.unlink({secret!r}),
        *[lambda: os.kill(os.getppid(), 0)] * {signals},
    ):
        try:
            attempt()
        except PermissionError:
            told.append("refused")
    raise UnreadableDocumentError(f"{{len(told)}} refused")

parser.kind_of = steal
parser.main()
"""


@pytest.mark.skipif(not landlock_version(), reason="there is no Landlock on this machine")
async def test_code_that_a_document_made_its_parser_run_reads_and_changes_no_file(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """cases 32, 33: not a key, nor what the kernel tells of the worker; a document never names a file that is read."""
    secret = tmp_path_factory.mktemp("keys") / "level-internal.key"
    secret.write_text("the key")
    signals = int(landlock_version() >= 6)
    program = _THEFT.format(secret=str(secret), folder=str(secret.parent), signals=signals)
    with pytest.raises(UnreadableDocumentError, match=f"^{10 + signals} refused$"):
        await child(tmp_path, program)(b"x", "a.txt")
    assert secret.read_text() == "the key"


async def test_where_the_kernel_does_not_isolate_the_parser_nothing_is_read(tmp_path: Path) -> None:
    program = """
from ingest_worker import parser
def refuse(): raise OSError("no")
parser.isolate = refuse
parser.main()
"""
    with pytest.raises(TransientError, match="give up the network"):
        await child(tmp_path, program)(b"x", "a.txt")


def test_a_machine_without_isolation_reads_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    ParserProcess(ParserLimits())
    assert [record.message for record in caplog.records] == ["parser.not-isolated", "parser.not-confined"]
    isolate()
    confine()
    socket.socket().close()
    assert Path("/etc/passwd").read_text()


def test_a_processor_whose_calls_are_not_known_is_told_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    ParserProcess(ParserLimits())
    assert "parser.not-isolated" in [record.message for record in caplog.records]
