"""Keyrings of the tests."""

import os
from collections.abc import Mapping
from pathlib import Path

from sluice.access import Level
from sluice.sealing import KeyFile, Keyring

KEYS = {level: os.urandom(32) for level in Level}


def keyring(folder: Path, keys: Mapping[Level, bytes] = KEYS) -> Keyring:
    """What one process holds, a key-encryption key a level; keyrings of the same keys and folder open each other's."""
    return Keyring({level: [KeyFile(key)] for level, key in keys.items()}, folder / "data-keys")
