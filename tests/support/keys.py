"""Keyrings of the tests."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sluice.access import Level
from sluice.sealing import KeyFile, Keyring

KEYS = {level: os.urandom(32) for level in Level}


class EveryTenant(Keyring):
    """Where the gateway has made every tenant that a test names."""

    def seal(self, plaintext: bytes, *, tenant: str, **place: Any) -> bytes:
        self.begin(tenant)
        return super().seal(plaintext, tenant=tenant, **place)

    def secret(self, name: str, *, tenant: str, **options: Any) -> bytes:
        self.begin(tenant)
        return super().secret(name, tenant=tenant, **options)


def keyring(folder: Path, keys: Mapping[Level, bytes] = KEYS) -> Keyring:
    """What one process holds, a key-encryption key a level; keyrings of the same keys and folder open each other's."""
    return EveryTenant({level: [KeyFile(key)] for level, key in keys.items()}, folder / "data-keys")
