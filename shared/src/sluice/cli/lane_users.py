"""The system users that the lanes run under, and what of the state folder is whose.

The INTERNAL user's processes serve both levels, so what both lanes need belongs to the EXTERNAL user's group, of which
they are members, and all else to the INTERNAL user or to root.
"""

import os
import pwd
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sluice.access import Level
from sluice.acl import processes
from sluice.cli.settings import CliSettings
from sluice.cli.state import StateFolder
from sluice.errors import ConfigurationError
from sluice.passportkeys import PUBLIC_KEYS

UMASK = 0o007
_PASSAGE = 0o711
_SHARED = 0o2770
_OWN = 0o700
_TRIAL = "import os, sys, sluice.service; os.stat(sys.argv[1])"


@dataclass(frozen=True)
class SystemUser:
    """Who a program runs as; `groups` are those beside its own."""

    name: str
    uid: int
    gid: int
    home: str
    groups: tuple[int, ...] = ()

    @property
    def variables(self) -> Mapping[str, str]:
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name}


@dataclass(frozen=True)
class LaneUsers:
    """`internal` is everybody who serves both levels: the INTERNAL lane, the gateway, the page, Redis and the logs."""

    external: SystemUser
    internal: SystemUser

    def of(self, lane: Level | None) -> SystemUser:
        return self.external if lane is Level.EXTERNAL else self.internal


def lane_users(settings: CliSettings) -> LaneUsers | None:
    """None when everything runs as whoever calls.

    Raises:
        ConfigurationError: one is missing or unknown, they are not two, one could read what is the other's, or this
            process may start nothing as somebody else.
    """
    names = settings.external_user, settings.internal_user
    if names == (None, None):
        return None
    if not all(names):
        raise ConfigurationError("SLUICE_EXTERNAL_USER and SLUICE_INTERNAL_USER go together")
    if os.geteuid() != 0:
        raise ConfigurationError(
            "only root may start the lanes as other users: run `sluice up` as root, or leave SLUICE_EXTERNAL_USER and"
            " SLUICE_INTERNAL_USER out"
        )
    external, internal = (_entry(name or "") for name in names)
    if 0 in (external.pw_uid, internal.pw_uid) or external.pw_uid == internal.pw_uid:
        raise ConfigurationError("SLUICE_EXTERNAL_USER and SLUICE_INTERNAL_USER must be two users, and neither root")
    if internal.pw_gid in (external.pw_gid, *os.getgrouplist(external.pw_name, external.pw_gid)):
        raise ConfigurationError(f"{external.pw_name} must not be in the group of {internal.pw_name}")
    return LaneUsers(_user(external), _user(internal, external.pw_gid))


def own(state: StateFolder, users: LaneUsers | None, key_files: Mapping[Level, tuple[Path, ...]]) -> None:
    """Give each part of the state folder to who works with it; without `users` all is this process's alone.

    What was written before under other users is given over too.
    """
    if users is None:
        for folder in (state.root, state.keys):
            folder.chmod(0o700)
        return
    for folder in (state.root, state.keys, state.redis_users, state.run):
        folder.mkdir(exist_ok=True)
        folder.chmod(_PASSAGE)
    state.keys.chmod(0o755)  # the public keys in it are found by their names
    _give(state.logs, 0, users.internal.gid, 0o2750)
    _keys(state, users, key_files)
    _data(state, users)
    for user in (users.external, users.internal):
        _try(user, state.data)


def _keys(state: StateFolder, users: LaneUsers, key_files: Mapping[Level, tuple[Path, ...]]) -> None:
    external, internal = users.external, users.internal
    for file in _files(state.keys):
        if file.match(PUBLIC_KEYS):
            file.chmod(0o644)
        elif file in key_files[Level.EXTERNAL]:
            _give(file, internal.uid, external.gid, 0o640)
        else:
            _give(file, internal.uid, internal.gid, 0o600)
    lanes = {process.user: process.lane for process in processes()}
    for file in _files(state.redis_users):  # the operator's too: the gateway starts the self-test for them
        user = users.of(lanes.get(file.stem))
        _give(file, user.uid, user.gid, 0o600)


def _data(state: StateFolder, users: LaneUsers) -> None:
    """The folders of both lanes are of the EXTERNAL group, and so is what is made in them."""
    external, internal = users.external, users.internal
    _give(state.data, internal.uid, internal.gid, _PASSAGE)
    for folder in (state.data_keys, state.blobs):
        folder.mkdir(exist_ok=True)
        _give(folder, internal.uid, internal.gid, _PASSAGE)
        _give_all(folder / "external", internal.uid, external.gid, _SHARED)
        _give_all(folder / "internal", internal.uid, internal.gid, _OWN)
    _give_all(state.chroma(Level.EXTERNAL), external.uid, external.gid, _OWN)
    _give_all(state.chroma(Level.INTERNAL), internal.uid, internal.gid, _OWN)
    _give_all(state.valkey, internal.uid, internal.gid, _OWN)
    state.gateway.mkdir(exist_ok=True)
    _give_all(state.gateway, internal.uid, internal.gid, _OWN)
    for file in _files(state.data):
        _give(file, internal.uid, internal.gid, 0o600)


def _give_all(folder: Path, uid: int, gid: int, mode: int) -> None:
    """The folder, and what lies in it if that was somebody else's: of thousands of files none is looked at twice."""
    folder.mkdir(exist_ok=True)
    status = folder.stat()
    if (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (uid, gid, mode):
        return
    for _, folders, files, descriptor in os.fwalk(folder):
        for name in folders:
            _give(name, uid, gid, mode, within=descriptor)
        for name in files:
            _give(name, uid, gid, mode & 0o660, within=descriptor)
    _give(folder, uid, gid, mode)  # last: cut off before, it is begun again


def _give(path: Path | str, uid: int, gid: int, mode: int, *, within: int | None = None) -> None:
    """Never what a link leads to: who owned the folder until now could have put one there."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=within)
    except OSError as error:
        raise ConfigurationError(
            f"{path} in the state folder cannot be given to its user ({error.strerror})"
        ) from error
    try:
        os.fchown(handle, uid, gid)
        os.fchmod(handle, mode)
    finally:
        os.close(handle)


def _files(folder: Path) -> Iterable[Path]:
    return [file for file in sorted(folder.iterdir()) if file.is_file()]


def _try(user: SystemUser, folder: Path) -> None:
    """
    Raises:
        ConfigurationError: this Python, Sluice's packages or the state folder is closed to the user.
    """
    try:
        tried = subprocess.run(  # noqa: S603  # our own interpreter, and nothing of anybody else's
            [sys.executable, "-c", _TRIAL, str(folder)],
            user=user.uid,
            group=user.gid,
            extra_groups=user.groups,
            capture_output=True,
            text=True,
            check=False,
        )
        last = (tried.stderr.strip().splitlines() or [""])[-1]
    except OSError as error:
        last = str(error)
    else:
        if tried.returncode == 0:
            return
    raise ConfigurationError(
        f"{user.name} cannot run Sluice ({last}): open the folders that {sys.executable}, this checkout and {folder}"
        " lie in to other users (chmod o+x), or move them"
    )


def _entry(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError as error:
        raise ConfigurationError(f"there is no system user {name}: make it with `useradd --system {name}`") from error


def _user(entry: pwd.struct_passwd, *groups: int) -> SystemUser:
    return SystemUser(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, groups)
