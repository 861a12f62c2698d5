"""`sluice keys rotate-passport` and `retire-passport`: another key for signing passports, while everything runs.

The new public key first, then the signer, then the old public key when nothing that it signed is good any more.
"""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sluice.access import key_id
from sluice.cli.settings import CliSettings
from sluice.errors import ConfigurationError
from sluice.passportkeys import LOOK_SECONDS, PUBLIC_KEYS
from sluice.sealing import read_key

_SLACK = timedelta(minutes=20)
"""More than a passport outlives the deadline of its job."""
_NOTICED_SECONDS = 3 * LOOK_SECONDS
_HEADS_SECONDS = 75
"""By then a running gateway has signed the heads of all audit chains with the new key: it does so once a minute."""


def rotate_passport(
    prepare: Annotated[bool, typer.Option("--prepare", help="Make the new key, and do not sign with it yet.")] = False,
) -> None:
    """Sign passports with a new key from now on; what the old one signed stays good."""
    folder = CliSettings().state.keys
    made = make_next(folder)
    print(f"{folder}: made passport-{made}.pub")
    if prepare:
        print("Hand it to every process; then `sluice keys rotate-passport` again.")
        return
    sign_with_next(folder, time.sleep)
    print(f"{folder}: the gateway signs with {made}. Later: `sluice keys retire-passport`.")


def retire_passport(
    at_once: Annotated[
        bool, typer.Option("--now", help="Although it ends all that is under way: the old key was stolen.")
    ] = False,
) -> None:
    """Give up the public keys whose passports have all expired; they are kept as retired-*.pub for the audit log."""
    settings = CliSettings()
    if at_once:
        let_heads_be_signed(settings.state.keys, time.sleep)
    life = timedelta() if at_once else timedelta(seconds=settings.job_deadline_seconds) + _SLACK
    retired = retire(settings.state.keys, life, datetime.now(UTC))
    print(f"gave up {', '.join(retired)}" if retired else "there was nothing to give up")


def make_next(folder: Path) -> str:
    """The new key in `passport.next`, its public half beside the others; what was left half done is taken up again."""
    current, upcoming = folder / "passport.key", folder / "passport.next"
    if not upcoming.exists():
        _put(upcoming, Ed25519PrivateKey.generate().private_bytes_raw(), like=current)
    for file in (current, upcoming):
        public = _public(file)
        if key_id(public) not in _known(folder):
            _put(folder / f"passport-{key_id(public)}.pub", public, like=_any_public(folder) or current)
    return key_id(_public(upcoming))


def sign_with_next(folder: Path, wait: Callable[[float], None]) -> None:
    """Once every verifier has had the time to notice the public key."""
    wait(_NOTICED_SECONDS)
    upcoming = folder / "passport.next"
    os.utime(upcoming)  # since when it signs
    upcoming.replace(folder / "passport.key")


def let_heads_be_signed(folder: Path, wait: Callable[[float], None]) -> None:
    """A chain whose head is still signed with a key that is given up counts as changed, for good."""
    left = (folder / "passport.key").stat().st_mtime + _HEADS_SECONDS - time.time()
    if left > 0:
        print(f"waiting {left:.0f} s, in which the gateway signs the audit log's heads with the new key ...")
        wait(left)


def retire(folder: Path, life: timedelta, now: datetime) -> list[str]:
    """The ids of the keys that were given up: older than the one that signs, which has signed for longer than `life`.

    Raises ConfigurationError when it has not.
    """
    current = folder / "passport.key"
    since = current.stat().st_mtime
    signing = key_id(_public(current))
    old = {kid: file for kid, file in _known(folder).items() if kid != signing and file.stat().st_mtime <= since}
    good_until = datetime.fromtimestamp(since, UTC) + life
    if old and now < good_until:
        raise ConfigurationError(
            f"passports of the old key are good until {good_until:%Y-%m-%d %H:%M} UTC: wait, or end them by --now"
        )
    for kid, file in old.items():
        file.replace(folder / f"retired-{kid}.pub")
    return sorted(old)


def _known(folder: Path) -> dict[str, Path]:
    return {key_id(read_key(file)): file for file in sorted(folder.glob(PUBLIC_KEYS))}


def _any_public(folder: Path) -> Path | None:
    return next(iter(sorted(folder.glob(PUBLIC_KEYS))), None)


def _public(file: Path) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(read_key(file)).public_key().public_bytes_raw()


def _put(path: Path, content: bytes, *, like: Path) -> None:
    """Appears whole, for those who may read the file that it is like."""
    draft = path.with_name(f".{path.name}")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        os.fchown(file.fileno(), like.stat().st_uid if os.geteuid() == 0 else -1, like.stat().st_gid)
        os.fchmod(file.fileno(), like.stat().st_mode & 0o777)
    draft.replace(path)
