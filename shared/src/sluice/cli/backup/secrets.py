"""The keys of a state folder in a file of their own: they open the backup, and never lie in it."""

import base64
import binascii
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel, ValidationError

from sluice.access import Level
from sluice.errors import DataKeyUnavailableError, PermanentError
from sluice.sealing import DataKeys, KeyFile

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)?")
_LEVEL_KEY_BYTES = 32


class _KeysFile(BaseModel):
    format: int
    keys: dict[str, str]


def write_keys(folder: Path, file: Path) -> list[str]:
    """The names of the keys, now in a new file for its owner alone. Raises OSError, FileExistsError."""
    keys = read_folder(folder)
    text = _KeysFile(format=1, keys={name: base64.b64encode(key).decode() for name, key in keys.items()})
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as writing:
        writing.write(text.model_dump_json(indent=1) + "\n")
        writing.flush()
        os.fsync(writing.fileno())
    return sorted(keys)


def read_keys(path: Path) -> dict[str, bytes]:
    """Of such a file, or of a copy of the folder `keys`. Raises PermanentError."""
    try:
        if path.is_dir():
            return read_folder(path)
        read = _KeysFile.model_validate_json(path.read_text())
        keys = {name: base64.b64decode(key, validate=True) for name, key in read.keys.items()}
    except OSError as error:
        raise PermanentError(f"the keys {path} cannot be read ({error.strerror})") from error
    except (ValidationError, binascii.Error, UnicodeDecodeError) as error:
        raise PermanentError(f"{path} is neither a file of `sluice backup --keys` nor a folder of keys") from error
    if not all(map(_NAME.fullmatch, keys)):
        raise PermanentError(f"{path} has a key whose name is no plain name")
    return keys


def read_folder(folder: Path) -> dict[str, bytes]:
    """The keys by their names below the folder. Raises OSError."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and _NAME.fullmatch(_name(folder, file))]
    return {_name(folder, file): file.read_bytes() for file in files}


def put_keys(keys: Mapping[str, bytes], folder: Path) -> None:
    """Raises OSError."""
    for name, key in keys.items():
        (folder / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as writing:
            writing.write(key)


def check_keys(data_keys: Path, level_keys: Iterable[bytes], needed: Mapping[Level, list[str]]) -> None:
    """
    Raises:
        PermanentError: a data key of the folder does not open with any of these level keys.
    """
    wrappers = [KeyFile(key) for key in level_keys if len(key) == _LEVEL_KEY_BYTES]
    given = {wrapper.key_id for wrapper in wrappers}
    keys = DataKeys(dict.fromkeys(Level, wrappers), data_keys)
    for info in keys.all():
        if not given & set(info.key_ids):
            wanted = ", ".join(needed[info.level])
            raise PermanentError(
                f"the {info.level} key ({wanted}) that wraps its data keys is not among the keys given: name a copy of"
                " the keys by --keys; without it nothing of that level opens"
            )
        try:
            keys.key(info.tenant, info.level, info.name)
        except DataKeyUnavailableError as error:
            raise PermanentError(f"{info.level} data key {info.name} of {info.tenant}: {error.detail}") from error


def _name(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix()
