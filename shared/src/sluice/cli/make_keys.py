"""`sluice keys`: the keys alone, for a system whose processes `sluice up` does not start."""

import typer

from sluice.cli.keys import KEEP_A_COPY, create_keys
from sluice.cli.settings import CliSettings


def keys(context: typer.Context) -> None:
    """Make the keys that are missing, in the folder keys of the state folder."""
    if context.invoked_subcommand:
        return
    folder = CliSettings().state.keys
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = create_keys(folder)
    print(f"{folder}: made {', '.join(made)}" if made else f"{folder}: nothing was missing")
    if made:
        print(KEEP_A_COPY)
