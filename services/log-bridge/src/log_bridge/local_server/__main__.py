"""Runs the server on stdin and stdout."""

import argparse
from pathlib import Path

from log_bridge.local_server.files import LogFolder
from log_bridge.local_server.index import LogIndex
from log_bridge.local_server.logs import Logs
from log_bridge.local_server.server import create_server


def main() -> None:
    parser = argparse.ArgumentParser(description="Searches a folder of JSON-lines logs, as an MCP server over stdio.")
    parser.add_argument("--logs", type=Path, required=True, help="folder of *.jsonl files; it may be made later")
    parser.add_argument("--max-records", type=int, default=200_000, help="how many of the newest records are kept")
    arguments = parser.parse_args()
    logs = Logs(LogFolder(arguments.logs), LogIndex(arguments.max_records))
    logs.read()  # what is there already, while the handshake goes on
    create_server(logs).run("stdio")


if __name__ == "__main__":
    main()
