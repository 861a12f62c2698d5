"""The contract check: every message's JSON schema and example stand under `messages/`, and no change breaks a reader.

`python -m tests.contract.check` fails on a change; with `--accept` a change that breaks nobody is written down.
A breaking change is a new class on a `.v2` stream instead.
"""

import json
import sys
from pathlib import Path
from typing import Any

from sluice.messages import MESSAGES, UNSIGNED, Message, Unsigned
from tests.contract import leaks

FOLDER = Path(__file__).parent / "messages"


KINDS: tuple[type[Message] | type[Unsigned], ...] = (*MESSAGES, *UNSIGNED)


def schema_of(kind: type[Message] | type[Unsigned]) -> dict[str, Any]:
    """What a producer in another language must send."""
    signed = {"laned": kind.laned, "bound": list(kind.bound)} if issubclass(kind, Message) else {}
    return {"stream": kind.stream, **signed, **kind.model_json_schema()}


def breaks(old: Any, new: Any, at: str = "") -> list[str]:
    """Why messages made by the old schema could fail a reader of the new one, or the other way round."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return [] if old == new else [f"{at or 'schema'} changed from {old!r} to {new!r}"]
    found: list[str] = []
    for key, value in old.items():
        here = f"{at}.{key}" if at else key
        if key in ("description", "title", "default"):
            continue
        if key == "required":
            found += [f"{at or 'schema'} now requires {name}" for name in set(new.get(key, [])) - set(value)]
        elif key == "enum":
            found += [f"{here} lost {name!r}" for name in value if name not in new.get(key, [])]
        elif key not in new:
            found.append(f"{here} is gone")
        else:
            found += breaks(value, new[key], here)
    if "required" not in old and new.get("required"):
        found.append(f"{at or 'schema'} now requires {', '.join(new['required'])}")
    return found


def check(kind: type[Message] | type[Unsigned], *, accept: bool) -> list[str]:
    file = FOLDER / f"{kind.stream}.json"
    current = schema_of(kind)
    if not file.exists():
        if not accept:
            return [f"{kind.stream}: no contract yet (run with --accept, and add an example)"]
        file.write_text(json.dumps({"schema": current, "example": None}, indent=2, ensure_ascii=False) + "\n")
        return []
    contract = json.loads(file.read_text())
    problems = [f"{kind.stream}: {reason}" for reason in breaks(contract["schema"], current)]
    try:
        kind.model_validate(contract["example"])
    except ValueError as error:
        problems.append(f"{kind.stream}: its example is no longer read: {error}")
    if not problems and contract["schema"] != current:
        if not accept:
            return [f"{kind.stream}: changed without breaking anyone; write it down with --accept"]
        file.write_text(json.dumps({**contract, "schema": current}, indent=2, ensure_ascii=False) + "\n")
    return problems


def main() -> int:
    accept = "--accept" in sys.argv[1:]
    FOLDER.mkdir(exist_ok=True)
    problems = [problem for kind in KINDS for problem in check(kind, accept=accept)]
    known = {f"{kind.stream}.json" for kind in KINDS}
    problems += [f"{file.name}: no message has this stream" for file in FOLDER.iterdir() if file.name not in known]
    problems += leaks.problems()
    print("\n".join(problems) or f"contracts: {len(KINDS)} messages, nothing broken")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
