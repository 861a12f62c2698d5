"""Columns that hold what people wrote, or what quotes a document: sealed, each for its own row and column."""

import base64
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import RowMapping

from sluice.access import Level
from sluice.errors import AccessDeniedError, DataKeyUnavailableError, SealBrokenError
from sluice.sealing import Keyring

logger = logging.getLogger(__name__)
R = TypeVar("R")


@dataclass(frozen=True)
class SealedColumns:
    """Of one table. Who reads the database alone reads none of them, and can put none in another's place."""

    keyring: Keyring
    table: str

    def seal(self, tenant: str, level: Level, row_id: str, texts: Mapping[str, str | None]) -> dict[str, str | None]:
        """By column; what is None stays so."""
        return {name: self._seal(tenant, level, row_id, name, text) for name, text in texts.items()}

    def open(self, tenant: str, level: Level, row_id: str, row: RowMapping, *names: str) -> dict[str, Any]:
        """The columns of these names. Raises SealBrokenError that names the row, where one does not open."""
        return {name: self._open(tenant, level, row_id, name, row[name]) for name in names}

    def _seal(self, tenant: str, level: Level, row_id: str, name: str, text: str | None) -> str | None:
        if text is None:
            return None
        place = self._place(row_id, name)
        return base64.b64encode(self.keyring.seal(text.encode(), tenant=tenant, level=level, row_id=place)).decode()

    def _open(self, tenant: str, level: Level, row_id: str, name: str, sealed: str | None) -> str | None:
        if sealed is None:
            return None
        place = self._place(row_id, name)
        try:
            return self.keyring.open(
                base64.b64decode(sealed, validate=True), tenant=tenant, level=level, row_id=place
            ).decode()
        except (ValueError, TypeError, SealBrokenError, AccessDeniedError) as error:
            logger.exception("row.does-not-open", extra={"table": self.table, "row": row_id, "column": name})
            raise SealBrokenError(
                f"the row {self.table}/{row_id} does not open: it was changed, moved, or sealed with another key"
            ) from error

    def _place(self, row_id: str, name: str) -> str:
        return f"{self.table}/{row_id}/{name}"


def each_openable(read: Callable[[RowMapping], R], rows: Iterable[RowMapping]) -> Iterator[R]:
    """A tenant whose data keys are away keeps no other one's rows waiting."""
    for row in rows:
        try:
            yield read(row)
        except DataKeyUnavailableError as error:
            logger.warning("row.cannot-be-opened-now", exc_info=error, extra={"row": row["id"]})
