"""A path for loaders that take nothing else, without a readable copy of the document on any disk."""

import os
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def memory_file(data: bytes) -> Generator[str]:
    """The path of an unnamed file in memory that holds `data`."""
    descriptor = os.memfd_create("document", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        yield f"/proc/self/fd/{descriptor}"
