"""The command: cast, library, questions, the two answers beside each other, the verdict."""

import json
import sys
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from sluice.cli.demo.asking import Reply, ask_all
from sluice.cli.demo.cast import ASHA, CARL, TENANT, Role, ensure_tenant, sign_in
from sluice.cli.demo.corpus import QUESTIONS, samples
from sluice.cli.demo.library import ensure_documents
from sluice.cli.demo.memory import Memory
from sluice.cli.demo.verdict import judge, shortcomings
from sluice.cli.gateway import gateway, operator_token
from sluice.cli.settings import CliSettings
from sluice.cli.terminal import printable

_FIRST_TOKEN_LIMIT_MS = 15_000


def demo(
    first_token_limit_ms: Annotated[
        float, typer.Option(help="How long the first token may take, as the median over the questions.")
    ] = _FIRST_TOKEN_LIMIT_MS,
) -> None:
    """Ask the running system the same questions as an INTERNAL and as an EXTERNAL person.

    The last line is JSON; the exit status is 1 if something is not as it must be.
    """
    settings, console = CliSettings(), Console(highlight=False)
    memory = Memory(settings.state.run / "demo.json")
    documents = samples()
    with gateway(settings, operator_token(settings.state.operator_token)) as operator, gateway(settings) as visitor:
        ensure_tenant(operator)
        tokens = {role: sign_in(operator, visitor, role, memory) for role in (ASHA, CARL)}
    with gateway(settings, tokens[ASHA]) as asha, gateway(settings, tokens[CARL]) as carl:
        states = ensure_documents(asha, documents, lambda line: console.print(line, markup=False))
        internal, external = list(ask_all(asha, QUESTIONS)), list(ask_all(carl, QUESTIONS))
    for pair in zip(internal, external, strict=True):
        console.print(_beside(*pair))
    console.print(
        f"Sign in at the page as either of them, tenant {TENANT}; passwords: {settings.state.run / 'demo.json'}"
    )
    verdict = judge(documents, states, internal, external)
    found = shortcomings(verdict, documents, QUESTIONS, first_token_limit_ms)
    for shortcoming in found:
        Console(stderr=True, highlight=False).print(f"not as it must be: {shortcoming}", markup=False, style="red")
    print(json.dumps(verdict.as_json()), flush=True)
    sys.exit(1 if found else 0)


def _beside(internal: Reply, external: Reply) -> Table:
    table = Table(title=Text(internal.question.text, style="bold"), expand=True, title_justify="left")
    for role in (ASHA, CARL):
        table.add_column(_heading(role), ratio=1)
    table.add_row(_answer(internal), _answer(external))
    return table


def _heading(role: Role) -> str:
    return f"{role.name} ({role.clearance}, {role.email})"


def _answer(reply: Reply) -> Group:
    """The answer as Markdown without links: what it quotes may come from a stranger."""
    text = "\n".join(map(printable, reply.text.strip().splitlines()))
    return Group(Markdown(text, hyperlinks=False), _sources(reply))


def _sources(reply: Reply) -> Text:
    lines = Text()
    for passage in reply.cited:
        page = f", page {passage['page']}" if passage.get("page") else ""
        lines.append(f"\n[{passage['n']}] {printable(passage['title'])}{page} ", "cyan")
        lines.append(passage["access_level"], "yellow" if passage["access_level"] == "INTERNAL" else "green")
    if not reply.cited:
        lines.append("\nno source cited", "dim")
    return lines.append(f"\nanswered by {printable(reply.tier)}", "dim")
