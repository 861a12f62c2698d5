"""There is one way to what is stored, and it asks for a scope."""

import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from sluice.access import Level
from sluice.blobs import BlobStore
from sluice.errors import AccessDeniedError
from sluice.index import Copies, Copy, Index, Name, State, Upkeep
from tests.support.keys import keyring

ROOT = Path(__file__).parents[2]
SOURCES = {
    str(file.relative_to(ROOT)): file.read_text()
    for folder in ("shared/src", "frontend/src", *(f"services/{s.name}/src" for s in (ROOT / "services").iterdir()))
    for file in (ROOT / folder).rglob("*.py")
}


def mentioning(pattern: str) -> set[str]:
    return {name for name, text in SOURCES.items() if re.search(pattern, text)}


def test_one_module_alone_knows_the_chroma_client_by_whatever_name_it_is_fetched() -> None:
    """case 10: the import rule sees imports; this sees names given to importlib too."""
    assert mentioning(r"\bchromadb") == {"shared/src/sluice/index/server.py"} | STARTS_THE_SERVER
    for name in STARTS_THE_SERVER:
        assert not re.search(r"^\s*(import|from) chromadb", SOURCES[name], re.M)
    assert mentioning(r"import_module\(|__import__\(|\b(?<!_)exec\(|\beval\(") == PICKS_A_PARSER


STARTS_THE_SERVER = {"shared/src/sluice/cli/programs.py"}
PICKS_A_PARSER = {"services/ingest-worker/src/ingest_worker/parsers/__init__.py"}


@pytest.mark.parametrize("store", [Index, BlobStore])
async def test_whatever_reads_or_writes_asks_for_a_scope_first(store: type[Any], tmp_path: Path) -> None:
    """case 10: it has no default, and what is no scope raises before any server or folder is asked."""
    keys = keyring(tmp_path)
    made: Any = (
        BlobStore(tmp_path, keys) if store is BlobStore else Index(dict.fromkeys(Level, "http://[::]:1"), keys, "m")
    )
    without = {"check", "tenants"}  # whether a server answers; who has any blob at all
    methods = {n: m for n, m in inspect.getmembers(made, inspect.iscoroutinefunction) if n[0] != "_"}
    assert without & set(methods)
    for name in set(methods) - without:
        first, *others = inspect.signature(methods[name]).parameters.values()
        assert (first.name, first.default) == ("scope", inspect.Parameter.empty), name
        needed = [p.name for p in others if p.default is inspect.Parameter.empty]
        for level in Level:
            known = {"level": level, "chunks": [], "vector": [1.0], "kind": "chunks"}
            given = {parameter: known.get(parameter) for parameter in needed}
            with pytest.raises(AttributeError, match=r"'NoneType' object has no attribute '(tenant|levels|at)'"):
                await methods[name](None, **given)


class OpenRows:
    """A copy's rows, as the server has them."""

    def __init__(self) -> None:
        self.probed = 0

    async def query(self, *_: Any) -> list[str]:
        return ["a sealed row"]

    async def probe(self, _: float) -> None:
        self.probed += 1


class FakeServer:
    level = Level.INTERNAL

    def __init__(self, rows: Any) -> None:
        self.copy = Copy(Name("tenant-a", self.level, "chunks"), 0, State.COMPLETE, "1", rows)

    async def collections(self) -> list[Copies]:
        return [Copies((self.copy,), looked_over=True)]

    def suspects(self) -> Sequence[Copy]:
        return [self.copy]


async def test_who_looks_after_the_collections_can_neither_read_nor_write_a_row() -> None:
    """case 10: health is known without a scope, rows are not."""
    rows = OpenRows()
    upkeep = Upkeep(cast(Any, FakeServer(rows)))
    [copies] = await upkeep.collections()
    for copy in (*copies.all, *upkeep.suspects()):
        for attempt in (copy.rows.query([1.0], 5, {}), copy.rows.ids(), copy.rows.upsert([]), copy.rows.delete(ids=[])):
            with pytest.raises(AccessDeniedError):
                await attempt
        await upkeep.probe(copy, 1)
    assert rows.probed == 2


def test_nothing_is_remembered_across_questions_but_what_is_listed_here() -> None:
    """case 9: a new cache shows here, and must be keyed by tenant and clearance or hold no text.

    The endings of single words, the terms of a log record, signatures that were verified.
    """
    assert mentioning(r"\blru_cache\b|functools\.cache|import cache\b|\bcached\(") == {
        "services/llm-router/src/llm_router/terms.py",
        "services/log-bridge/src/log_bridge/local_server/analysis.py",
        "shared/src/sluice/access.py",
    }
