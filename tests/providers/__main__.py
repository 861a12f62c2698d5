"""Runs the loopback provider as a process: `python -m tests.providers --port N`."""

import argparse

import uvicorn

from tests.providers.script import Script
from tests.providers.server import create_app


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.providers", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvicorn.run(create_app(Script()), host="127.0.0.1", port=parser.parse_args().port, log_level="warning")


if __name__ == "__main__":
    main()
