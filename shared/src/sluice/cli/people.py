"""`sluice tenant` and `sluice person`: asked of the running gateway with the operator's token."""

from typing import Annotated
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table

from sluice.access import Right
from sluice.cli.gateway import gateway, operator_token
from sluice.cli.settings import CliSettings
from sluice.errors import PermanentError

Slug = Annotated[str, typer.Argument(help="The tenant's short name: a-z, 0-9 and hyphens.")]


def tenant_add(
    slug: Slug,
    name: Annotated[str | None, typer.Option(help="The tenant's name as people read it; by default the slug.")] = None,
    internal_domain: Annotated[
        list[str] | None, typer.Option(help="A mail domain whose people are INTERNAL; repeat for more.")
    ] = None,
) -> None:
    """Make a tenant."""
    body = {"slug": slug, "name": name or slug} | ({"internal_domains": internal_domain} if internal_domain else {})
    settings = CliSettings()
    with gateway(settings, operator_token(settings.state.operator_token)) as api:
        api.post("/tenants", body)
    _console().print(f"tenant {slug} made; next: sluice person add EMAIL --tenant {slug}")


def tenant_suspend(slug: Slug) -> None:
    """Suspend a tenant: nobody of it may act, and its jobs wait."""
    _suspend(slug, suspended=True)
    _console().print(f"tenant {slug} is suspended; end that with: sluice tenant resume {slug}")


def tenant_resume(slug: Slug) -> None:
    """End a tenant's suspension."""
    _suspend(slug, suspended=False)
    _console().print(f"tenant {slug} may act again; its people sign in anew")


def _suspend(slug: str, *, suspended: bool) -> None:
    settings = CliSettings()
    with gateway(settings, operator_token(settings.state.operator_token)) as api:
        api.patch(f"/tenants/{quote(slug, safe='')}", {"suspended": suspended})


def tenant_list() -> None:
    """Show the tenants."""
    settings = CliSettings()
    table = Table("slug", "name", "internal domains", "state")
    with gateway(settings, operator_token(settings.state.operator_token)) as api:
        answer = api.get("/tenants")
    for tenant in answer["items"]:
        state = "suspended" if tenant.get("suspended_at") else "active"
        table.add_row(tenant["slug"], tenant["name"], ", ".join(tenant.get("internal_domains", [])), state)
    _console().print(table)


def person_add(
    email: Annotated[str, typer.Argument(help="The person's address; its domain decides their clearance.")],
    tenant: Annotated[str, typer.Option(help="The tenant's short name.")],
    rights: Annotated[str, typer.Option(help="Of read, upload, teach, logs, admin, declassify: with commas.")] = "read",
) -> None:
    """Add a person to a tenant, and show their one-time password once."""
    settings = CliSettings()
    with gateway(settings, operator_token(settings.state.operator_token)) as api:
        person = api.post(f"/tenants/{quote(tenant, safe='')}/people", {"email": email, "rights": _rights(rights)})
    _console().print(
        f"{person['email']}: {person['clearance']}, {', '.join(person['rights'])}\n"
        f"one-time password, shown this once: {person['one_time_password']}"
    )


def _rights(text: str) -> list[str]:
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if unknown := sorted(set(names) - set(Right)):
        raise PermanentError(f"no such right: {', '.join(unknown)}; there are {', '.join(Right)}")
    return names


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True, markup=False)
