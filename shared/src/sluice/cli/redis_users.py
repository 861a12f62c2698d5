"""`sluice redis acl`: the users of Redis with their passwords, for the Redis of a system."""

import secrets
from hashlib import sha256
from typing import Annotated

import typer

from sluice.acl import acl, users
from sluice.cli.keys import create
from sluice.cli.settings import CliSettings
from sluice.cli.state import StateFolder
from sluice.redis_address import read_password

_DRAFT = ".users.acl.draft"


def redis_acl(
    redis70: Annotated[bool, typer.Option("--redis-7.0", help="For Redis 7.0, which knows a command less.")] = False,
) -> None:
    """Print the ACL file for Redis: its users, and what each may do. Passwords that are missing are made.

    They lie in `keys/redis` of the state folder, a file a user; Redis gets their SHA-256 alone.
    """
    print(_text(CliSettings().state, set_info=not redis70), end="")


def write_acl(state: StateFolder) -> None:
    """Write the ACL file for a Valkey on this machine, anew each time: the table of streams may have changed."""
    text = _text(state, set_info=True)
    draft = state.redis_users / _DRAFT
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(state.redis_acl)


def _text(state: StateFolder, *, set_info: bool) -> str:
    state.redis_users.mkdir(mode=0o700, parents=True, exist_ok=True)
    digests: dict[str, str] = {}
    for user in users():
        path = state.redis_password(user)
        create(path, secrets.token_urlsafe(32).encode())
        digests[user] = sha256(read_password(path).encode()).hexdigest()
    return acl(digests, set_info=set_info)
