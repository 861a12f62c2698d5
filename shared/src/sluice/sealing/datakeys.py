"""Data keys: 32 random bytes a tenant and level, stored wrapped at `folder/level/tenant/name.json`.

Numbers name the keys that rows are sealed with, the highest for what is sealed from now on. Other names are secrets of
another use, which are never rotated.
"""

import base64
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sluice.access import Level
from sluice.errors import AccessDeniedError, DataKeyUnavailableError, PermanentError
from sluice.sealing import files
from sluice.sealing.wrapping import KeyWrapper

_KEY_BYTES = 32
_TENANT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class DataKeyInfo:
    """What may be told of a data key; `key_ids` are the key-encryption keys that open it."""

    tenant: str
    level: Level
    name: str
    key_ids: tuple[str, ...]


class DataKeys:
    """The data keys of the levels whose key-encryption keys this process was given.

    While the key-encryption key of a level is changed there are two of it: what is made then is wrapped by both, and
    either opens it.
    """

    def __init__(self, wrappers: Mapping[Level, Sequence[KeyWrapper]], folder: Path) -> None:
        self._wrappers = {level: tuple(given) for level, given in wrappers.items() if given}
        self._folder = folder
        self._opened: dict[tuple[Level, str, str], bytes] = {}
        self._highest: dict[tuple[Level, str], tuple[int, Path]] = {}

    @property
    def levels(self) -> frozenset[Level]:
        return frozenset(self._wrappers)

    def newest(self, tenant: str, level: Level) -> int:
        """The number of the key for what is sealed now.

        Raises DataKeyUnavailableError where there is none: it may be that the folder is not mounted, so none is made.
        """
        self._wrappers_of(level)
        number = self._highest_of(tenant, level)
        if number == 0:
            raise DataKeyUnavailableError(f"the {level} data keys of tenant {tenant} are missing: put them back")
        return number

    def begin(self, tenant: str) -> None:
        """The first keys of a tenant that nothing was sealed for yet."""
        for level in self._wrappers:
            if self._highest_of(tenant, level) == 0:
                self._make(tenant, level, 1)

    def rotate(self, tenant: str, level: Level) -> int:
        """A new key for what is sealed from now on, by every process; its number."""
        return self._make(tenant, level, self._highest_of(tenant, level) + 1)

    def key(self, tenant: str, level: Level, name: str, *, make: bool = False) -> bytes:
        """
        Raises:
            AccessDeniedError: this process was not given the level's key-encryption key.
            DataKeyUnavailableError: there is no such key, or it does not open.
        """
        wrappers, place = self._wrappers_of(level), (level, tenant, name)
        if place not in self._opened:
            path = self._path(tenant, level, name)
            if make and not path.exists():
                self.newest(tenant, level)  # else all its keys are away, and this one too
                files.create(path, _record(secrets.token_bytes(_KEY_BYTES), wrappers, place))
            self._opened[place] = _unwrap(_read(path), wrappers, place)
        return self._opened[place]

    def rewrap(self, info: DataKeyInfo) -> bool:
        """From now on the first of this process's key-encryption keys opens it, and no other; False if it was so."""
        first = self._wrappers_of(info.level)[:1]
        if info.key_ids == (first[0].key_id,):
            return False
        key = self.key(info.tenant, info.level, info.name)
        record = _record(key, first, (info.level, info.tenant, info.name))
        files.replace(self._path(info.tenant, info.level, info.name), record)
        return True

    def all(self) -> Iterator[DataKeyInfo]:
        """Of all levels and tenants, opened or not."""
        for level in Level:
            for path in sorted(self._folder.glob(f"{level.lower()}/*/[!.]*.json")):
                yield DataKeyInfo(path.parent.name, level, path.stem, tuple(sorted(_read(path))))

    def _make(self, tenant: str, level: Level, number: int) -> int:
        """Who comes second takes the key that the first one made."""
        place = (level, tenant, str(number))
        record = _record(secrets.token_bytes(_KEY_BYTES), self._wrappers_of(level), place)
        files.create(self._path(tenant, level, str(number)), record)
        return number

    def _highest_of(self, tenant: str, level: Level) -> int:
        """Looks for the next number each time: another process may have rotated. Keys are never removed singly."""
        number, upcoming = self._highest.get((level, tenant)) or (0, self._path(tenant, level, "1"))
        while os.access(upcoming, os.F_OK):  # at each seal, so in the way that costs least
            number += 1
            upcoming = self._path(tenant, level, str(number + 1))
        self._highest[level, tenant] = number, upcoming
        return number

    def _path(self, tenant: str, level: Level, name: str) -> Path:
        if not _TENANT.fullmatch(tenant):
            raise PermanentError("a tenant's name is no plain name")
        return self._folder / level.lower() / tenant / f"{name}.json"

    def _wrappers_of(self, level: Level) -> tuple[KeyWrapper, ...]:
        if level not in self._wrappers:
            raise AccessDeniedError(f"this process holds no {level} key")
        return self._wrappers[level]


def _record(key: bytes, wrappers: Sequence[KeyWrapper], place: tuple[Level, str, str]) -> bytes:
    wrapped = {each.key_id: base64.b64encode(each.wrap(key, _bytes(place))).decode() for each in wrappers}
    return json.dumps({"wrapped": wrapped}).encode()


def _read(path: Path) -> dict[str, bytes]:
    try:
        record = json.loads(path.read_bytes())
        return {key_id: base64.b64decode(wrapped) for key_id, wrapped in record["wrapped"].items()}
    except OSError as error:
        raise DataKeyUnavailableError("the file of a data key is missing or cannot be read: put it back") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataKeyUnavailableError("the file of a data key is damaged: put it back from a backup") from error


def _unwrap(wrapped: Mapping[str, bytes], wrappers: Sequence[KeyWrapper], place: tuple[Level, str, str]) -> bytes:
    for wrapper in wrappers:
        if wrapper.key_id in wrapped:
            return wrapper.unwrap(wrapped[wrapper.key_id], _bytes(place))
    raise DataKeyUnavailableError(f"a data key is wrapped by another {place[0]} key than this process was given")


def _bytes(place: tuple[Level, str, str]) -> bytes:
    return "\0".join(("data key", *place)).encode()
