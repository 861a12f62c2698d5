"""Sealing at rest: a data key a tenant and level seals the rows, the level's key-encryption key wraps the data keys."""

from sluice.sealing.datakeys import DataKeyInfo, DataKeys
from sluice.sealing.keyring import Keyring
from sluice.sealing.wrapping import KeyFile, KeyWrapper, read_key, read_wrappers

__all__ = ["DataKeyInfo", "DataKeys", "KeyFile", "KeyWrapper", "Keyring", "read_key", "read_wrappers"]
