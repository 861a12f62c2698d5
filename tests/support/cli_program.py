"""A small program for the supervisor: `/readyz`, one JSON log line, and a few ways to misbehave.

Run as `python cli_program.py PORT NOTES [crash] [never-ready] [stubborn] [child]`.
NOTES is a file to which it appends `started`, and `stopped` when it was asked to stop.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


def main() -> None:
    port, notes, *habits = sys.argv[1:]
    name = os.environ["STANDIN_NAME"]

    def note(what: str) -> None:
        with Path(notes).open("a") as file:
            file.write(f"{what} {name} {os.getpid()}\n")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/exit":
                os._exit(0)
            self.send_response(503 if "never-ready" in habits else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    def stop(*_: object) -> None:
        note("stopped")
        if "stubborn" not in habits:
            threading.Thread(target=server.shutdown).start()

    if "crash" in habits:
        print("the reason of the crash", flush=True)
        sys.exit(3)
    server = HTTPServer(("127.0.0.1", int(port)), Handler)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, lambda *_: note("interrupted"))
    if "child" in habits:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        note(f"child={child.pid}")
    note("started")
    print(json.dumps({"time": "2026-01-01T00:00:00+00:00", "level": "INFO", "event": "service.started"}), flush=True)
    print("plain \x1b[31moutput\x1b[0m", flush=True)
    server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
