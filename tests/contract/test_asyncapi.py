"""The AsyncAPI document: valid, complete, and true of what the code puts on its keys."""

import ast
import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from scripts.asyncapi.__main__ import FILE
from scripts.asyncapi.document import document
from sluice.messages import MESSAGES, UNSIGNED
from sluice.topology import EVERY_SERVICE, FLOWS, GROUPS, PRODUCER

ROOT = Path(__file__).parents[2]
SERVICES = {folder.name: folder / "src" for folder in (ROOT / "services").iterdir()}
OFFICIAL = jsonschema.Draft7Validator(
    json.loads((Path(__file__).parent / "asyncapi" / "schema-3.0.0.json").read_text())
)


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    return json.loads((ROOT / FILE).read_text())


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def resolve(root: Any, reference: str) -> Any:
    assert reference.startswith("#/")
    for part in reference[2:].split("/"):
        root = root[part]
    return root


def test_the_document_is_what_the_code_says(written: dict[str, Any]) -> None:
    assert written == document(), "run `python -m scripts.asyncapi`"


def test_the_document_is_valid_by_the_official_schema(written: dict[str, Any]) -> None:
    assert [error.message for error in OFFICIAL.iter_errors(written)] == []
    broken = deepcopy(written)
    broken["operations"]["gateway.send.questions.asked.v1"]["action"] = "publish"
    assert not OFFICIAL.is_valid(broken)


def test_every_reference_leads_somewhere(written: dict[str, Any]) -> None:
    found = set(references(written))
    assert len(found) > 100
    assert all(resolve(written, reference) for reference in found)
    for operation in written["operations"].values():
        at = operation["channel"]["$ref"]
        assert all(message["$ref"].startswith(f"{at}/messages/") for message in operation["messages"])


def test_every_stream_has_its_channels_and_whoever_sends_and_receives(written: dict[str, Any]) -> None:
    for kind in (*MESSAGES, *UNSIGNED):
        channel = written["channels"][kind.stream]
        lanes = [f"{kind.stream}.{lane}" for lane in written["components"]["parameters"]["lane"]["enum"]]
        streams = lanes if "parameters" in channel else [kind.stream]
        assert set(streams) <= set(GROUPS)
        for beside in ("delayed", "dead"):
            named = written["channels"][f"{kind.stream}.{beside}"]["parameters"]["stream"]["enum"]
            assert named == [f"{{{stream}}}" for stream in streams]
    acting = {
        (operation["action"], operation["channel"]["$ref"].removeprefix("#/channels/"), operation["tags"][0]["name"])
        for operation in written["operations"].values()
    }
    for flow in FLOWS:
        assert ("receive", flow.kind.stream, flow.receiver) in acting
        assert {("send", flow.kind.stream, sender) for sender in flow.senders} <= acting


def test_the_table_of_flows_has_every_message_once() -> None:
    assert sorted(flow.kind.stream for flow in FLOWS) == sorted(kind.stream for kind in (*MESSAGES, *UNSIGNED))


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_knows_what_the_table_says_that_it_sends_and_takes(service: str) -> None:
    """Whether it really does, and nothing else, is seen in a running system (tests/e2e)."""
    trees = [ast.parse(file.read_text()) for file in SERVICES[service].rglob("*.py")]
    named = {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}
    own = [flow for flow in FLOWS if flow.senders != EVERY_SERVICE or service == flow.receiver]  # else sluice sends it
    sent_or_taken = {flow.kind.__name__ for flow in own if service in (*flow.senders, flow.receiver)}
    assert sent_or_taken
    assert sent_or_taken <= named


def test_every_example_is_read_by_its_own_schema(written: dict[str, Any]) -> None:
    for flow in FLOWS:
        message = written["components"]["messages"][flow.kind.__name__]
        [example] = message["examples"]
        assert example["payload"], f"{flow.kind.stream} has no example under tests/contract/messages"
        schema = {**message["payload"], "components": written["components"]}
        jsonschema.Draft202012Validator(schema).validate(example["payload"])
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(schema).validate({})


def test_the_readme_has_the_same_table_of_streams() -> None:
    rows = re.findall(
        r"^\| `([a-z.{}\-0-9]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", (ROOT / "README.md").read_text(), re.M
    )
    expected = [(flow.address, ", ".join(flow.senders), flow.receiver, flow.carries) for flow in FLOWS]
    assert rows == expected, "\n".join(f"| `{a}` | {s} | {r} | {c} |" for a, s, r, c in expected)


def test_bulk_producers_send_offers_and_nothing_else(written: dict[str, Any]) -> None:
    tag = {"name": PRODUCER}
    theirs = [name for name, operation in written["operations"].items() if tag in operation["tags"]]
    assert theirs == ["bulk-producer.send.documents.offered.v1"]
    assert written["operations"][theirs[0]]["security"] == [{"$ref": "#/components/securitySchemes/grant"}]
