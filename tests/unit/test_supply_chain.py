"""What is run is what was written and locked: no code from data, no package without its hash."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [file for folder in ("shared", "frontend", "services", "scripts") for file in (ROOT / folder).rglob("*.py")]
RUNS_WHAT_IT_READS = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "jsonpickle",
}
RUNS_TEXT = {"eval", "exec", "compile", "__import__"}
ENTRY = re.compile(r"^(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>\S+)(?P<rest>.*)$")
INSTALLS = re.compile(r"\b(?:pip|uv pip|uv)\s.*\b(?:install|sync|wheel)\b")


def code_from_data(source: str) -> Iterator[str]:
    """The names by which a file could run what it reads."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from {alias.name.partition(".")[0] for alias in node.names} & RUNS_WHAT_IT_READS
        elif isinstance(node, ast.ImportFrom):
            yield from {(node.module or "").partition(".")[0]} & RUNS_WHAT_IT_READS
        elif isinstance(node, ast.Name):
            yield from {node.id} & RUNS_TEXT
        elif isinstance(node, ast.Attribute):
            yield from {node.attr} & {"eval", "exec", "read_pickle", "to_pickle", "unsafe_load", "full_load"}
        elif isinstance(node, ast.keyword):
            told = (node.arg, getattr(node.value, "value", None))
            yield from {"allow_pickle", "shell"} & {name for name in [node.arg] if told == (name, True)}


def test_no_module_runs_what_it_reads() -> None:
    """case 41: no pickle, no eval, no shell; a module is imported by its name from a table alone."""
    assert len(SOURCES) > 200
    assert {file.name: [*found] for file in SOURCES if (found := [*code_from_data(file.read_text())])} == {}


@pytest.mark.parametrize(
    "source",
    [
        *("import pickle", "from pickle import loads", "import joblib.numpy_pickle", "x = eval", "exec('x')"),
        *("numpy.load(file, allow_pickle=True)", "subprocess.run(x, shell=True)", "yaml.unsafe_load(x)"),
        *("builtins.eval(x)", "__import__(x)", "compile(x, '', 'exec')", "pandas.read_pickle(x)"),
    ],
)
def test_each_way_to_run_what_is_read_would_be_seen(source: str) -> None:
    """case 41: so that an empty finding means something."""
    assert [*code_from_data(source)]


def test_every_package_is_locked_to_a_version_and_to_hashes() -> None:
    """case 42: no address, no folder, no range; SHA-256 alone."""
    lock = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    lines = [line for line in lock.splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) > 150
    for line in lines:
        entry = ENTRY.match(line)
        assert entry, line
        hashes = re.findall(r"--hash=(\S+)", entry["rest"])
        assert hashes, line
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes), line


@pytest.mark.parametrize("file", ["Makefile", "Dockerfile", ".ci/run"])
def test_every_install_asks_for_hashes_or_for_nothing_from_outside(file: str) -> None:
    """case 42: also that of the installer itself."""
    text = (ROOT / file).read_text().replace("\\\n", " ")
    commands = [part for line in text.splitlines() for part in re.split(r"&&|\|\|", line) if INSTALLS.search(part)]
    assert commands or file == ".ci/run"
    for command in commands:
        own = "--no-deps" in command and ("--no-build-isolation" in command or "--no-index" in command)
        assert own or "--require-hashes" in command, command
