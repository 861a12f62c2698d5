"""What a person reads once everything is up: where to click, and how to sign in the first time."""

from rich.text import Text

from sluice.cli.settings import CliSettings
from sluice.cli.terminal import Terminal


def welcome(terminal: Terminal, settings: CliSettings) -> None:
    host = settings.reachable_host
    terminal.plain("")
    terminal.plain(Text.assemble("  page   ", (f"http://{host}:{settings.page_port}", "bold underline")))
    terminal.plain(Text.assemble("  API    ", (f"http://{host}:{settings.gateway_port}/docs", "bold underline")))
    _first_password(terminal, settings)
    terminal.plain(Text("  Ctrl-C stops everything; nothing is lost.\n", "dim"))


def _first_password(terminal: Terminal, settings: CliSettings) -> None:
    """Show the first admin's one-time password to a person, once; where nobody looks, say where it lies."""
    path = settings.state.first_admin_password
    if not path.exists():
        return
    if not terminal.seen_by_a_person:
        terminal.plain(f"  The one-time password of {settings.admin_email} is in {path}")
        return
    password = path.read_text().strip()
    terminal.plain(Text.assemble(f"  sign in as {settings.admin_email}, one-time password ", (password, "bold yellow")))
    terminal.plain(Text("  It is shown this once and kept nowhere; signing in asks for a new one.", "dim"))
    path.unlink()
