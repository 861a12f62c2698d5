"""An MCP server over stdio that misbehaves as it is told, with nothing but the standard library.

`python log_child.py FOLDER TOOL [BEHAVIOUR ...]`: each start appends its process id to FOLDER/starts, each message that
it reads to FOLDER/received. A behaviour of a call holds for the call whose query names it.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FOLDER, TOOL, BEHAVIOURS = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
CORALOGIX_ROW = {
    "metadata": [{"key": "timestamp", "value": "2026-11-20T10:00:01"}, {"key": "severity", "value": "5"}],
    "labels": [{"key": "applicationname", "value": "shop"}],
    "userData": json.dumps({"tenant": "acme", "event": "order.paid"}),
}
ANNOTATIONS = {"readOnlyHint": "writes" not in BEHAVIOURS}


def send(message: dict[str, Any]) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def note(file: str, text: str) -> None:
    with (FOLDER / file).open("a") as out:
        out.write(text + "\n")


def page(**more: Any) -> dict[str, Any]:
    answer = {"total": 1, "took_ms": 1, "hits": [{"tenant": "acme", "pid": os.getpid(), **more}], "warnings": []}
    return {"content": [], "structuredContent": answer, "isError": False}


def coralogix() -> dict[str, Any]:
    lines = [{"queryId": {"queryId": "1"}}, {"result": {"results": [CORALOGIX_ROW]}}, {"statistics": {"rows": 1}}]
    return {"content": [{"type": "text", "text": "\n".join(map(json.dumps, lines))}]}


def call(number: int, query: str) -> None:
    once = FOLDER / "crashed"
    if "crash-once" in query and not once.exists():
        once.touch()
        os._exit(3)
    if "crash-always" in query:
        os._exit(3)
    if "hang" in query:
        return
    if "stop-reading" in query:
        send({"id": number, "result": page()})
        os.kill(os.getpid(), signal.SIGSTOP)
    if "flood" in query:
        for n in range(200_000):
            print(f"stderr line {n} of a flood", file=sys.stderr)
    if "garbage" in query:
        print("this is not JSON\n{}\n[]\n5\n" + '{"jsonrpc": "2.0", "id": 999999, "result": {}}', flush=True)
    if "giant" in query:
        send({"id": number, "result": page(text="x" * (17 << 20))})
        return
    if "invalid" in query:
        send({"id": number, "error": {"code": -32602, "message": "Unknown tool, password=hunter2"}})
        return
    if "refused" in query:
        text = "bad query, key AIza" + "x" * 35
        send({"id": number, "result": {"isError": True, "content": [{"type": "text", "text": text}]}})
        return
    send({"id": number, "result": page() if TOOL == "search_logs" else coralogix()})


def handle(message: dict[str, Any]) -> None:
    number, method = message.get("id"), message.get("method")
    if method == "initialize":
        if "silent" in BEHAVIOURS:
            return
        version = "1999-01-01" if "ancient" in BEHAVIOURS else message["params"]["protocolVersion"]
        info = {"name": "child", "version": "1"}
        send({"id": number, "result": {"protocolVersion": version, "capabilities": {}, "serverInfo": info}})
        send({"id": "from-child", "method": "ping"})
    elif method == "tools/list":
        if message["params"].get("cursor") is None:
            other = {"name": "manage_alerts", "annotations": {"readOnlyHint": False}}
            send({"id": number, "result": {"tools": [other], "nextCursor": "2"}})
        else:
            send({"id": number, "result": {"tools": [{"name": TOOL, "annotations": ANNOTATIONS}]}})
    elif method == "tools/call":
        call(message["id"], json.dumps(message["params"]["arguments"]))
    elif method == "ping":
        send({"id": number, "result": {}})


def main() -> None:
    note("starts", str(os.getpid()))
    note("environment", json.dumps(dict(os.environ)))
    if "exit" in BEHAVIOURS:
        sys.exit(1)
    if "deaf" in BEHAVIOURS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "grandchild" in BEHAVIOURS:
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        note("grandchildren", str(subprocess.Popen([sys.executable, "-c", code]).pid))
    print("child says Bearer abcdef0123456789 on stderr", file=sys.stderr, flush=True)
    for line in sys.stdin:
        note("received", line.strip()[:500])
        handle(json.loads(line))
    if "deaf" in BEHAVIOURS:
        time.sleep(600)


main()
