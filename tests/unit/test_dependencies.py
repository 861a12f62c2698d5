"""Each member declares what it imports, so that it can be installed alone."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEMBERS = ["shared", "frontend", *(f"services/{folder.name}" for folder in (ROOT / "services").iterdir())]
DISTRIBUTIONS = packages_distributions()


def imported(folder: Path) -> Iterator[str]:
    """The top-level names that the Python files below the folder import."""
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.split(".")[0]


def canonical(name: str) -> str:
    return re.split(r"[\[<>=; ]", name)[0].lower().replace("_", "-")


@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_imports_only_what_it_declares(member: str) -> None:
    source = ROOT / member / "src"
    declared = {
        canonical(d) for d in tomllib.loads((ROOT / member / "pyproject.toml").read_text())["project"]["dependencies"]
    }
    foreign = set(imported(source)) - set(sys.stdlib_module_names) - {path.name for path in source.iterdir()}
    assert foreign
    undeclared = {name for name in foreign if not {canonical(d) for d in DISTRIBUTIONS.get(name, [name])} & declared}
    assert undeclared == set()
