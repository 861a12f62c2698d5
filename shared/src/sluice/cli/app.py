"""The commands, put together."""

import sys

import typer
from rich.console import Console

from sluice.cli.audit import audit_export, audit_verify
from sluice.cli.backup.command import backup, restore
from sluice.cli.data_keys import keys_rewrap, keys_rotate, keys_status
from sluice.cli.dead import dead_discard, dead_list, dead_replay, dead_show
from sluice.cli.demo.command import demo
from sluice.cli.down import down
from sluice.cli.index import index_rebuild, index_verify
from sluice.cli.ingest.command import ingest
from sluice.cli.make_keys import keys
from sluice.cli.passport_keys import retire_passport, rotate_passport
from sluice.cli.people import person_add, tenant_add, tenant_list, tenant_resume, tenant_suspend
from sluice.cli.redis_users import redis_acl
from sluice.cli.selftest.command import selftest_leaks
from sluice.cli.up import up
from sluice.errors import SluiceError


def create_app() -> typer.Typer:
    app = typer.Typer(name="sluice", no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)
    app.command()(up)
    app.command()(down)
    app.command()(demo)
    app.command()(ingest)
    app.command()(backup)
    app.command()(restore)
    tenant = typer.Typer(no_args_is_help=True, help="Tenants of the running system.")
    tenant.command("add")(tenant_add)
    tenant.command("list")(tenant_list)
    tenant.command("suspend")(tenant_suspend)
    tenant.command("resume")(tenant_resume)
    person = typer.Typer(no_args_is_help=True, help="People of a tenant.")
    person.command("add")(person_add)
    dead = typer.Typer(no_args_is_help=True, help="Dead letters: what was given up, and why.")
    dead.command("list")(dead_list)
    dead.command("show")(dead_show)
    dead.command("replay")(dead_replay)
    dead.command("discard")(dead_discard)
    index = typer.Typer(no_args_is_help=True, help="The index of what can be found.")
    index.command("verify")(index_verify)
    index.command("rebuild")(index_rebuild)
    selftest = typer.Typer(no_args_is_help=True, help="What the running system shows of itself.")
    selftest.callback()(_group)
    selftest.command("leaks")(selftest_leaks)
    app.add_typer(selftest, name="selftest")
    keyring = typer.Typer(invoke_without_command=True)
    keyring.callback()(keys)
    keyring.command("status")(keys_status)
    keyring.command("rotate")(keys_rotate)
    keyring.command("rewrap")(keys_rewrap)
    keyring.command("rotate-passport")(rotate_passport)
    keyring.command("retire-passport")(retire_passport)
    app.add_typer(keyring, name="keys")
    redis = typer.Typer(no_args_is_help=True, help="The users of Redis.")
    redis.callback()(_group)
    redis.command("acl")(redis_acl)
    app.add_typer(redis, name="redis")
    audit = typer.Typer(no_args_is_help=True, help="The audit log: who did what, in chains that show a change.")
    audit.command("verify")(audit_verify)
    audit.command("export")(audit_export)
    app.add_typer(audit, name="audit")
    app.add_typer(index, name="index")
    app.add_typer(tenant, name="tenant")
    app.add_typer(dead, name="dead")
    app.add_typer(person, name="person")
    return app


def _group() -> None:
    """A group of one command stays a group."""


def run() -> None:
    try:
        create_app()()
    except SluiceError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"sluice: {error.detail}", markup=False)
        sys.exit(1)
