"""`sluice selftest leaks`."""

import itertools
import json
import signal
from typing import Annotated

import typer
from rich.console import Console

from sluice.cli.gateway import operator_token
from sluice.cli.selftest.record import Record
from sluice.cli.selftest.run import Report, run
from sluice.cli.selftest.stage import open_stage
from sluice.cli.selftest.ways import WAYS
from sluice.cli.settings import CliSettings

Url = Annotated[str | None, typer.Option(help="The gateway; by default the one on this machine.")]
RedisUrl = Annotated[str | None, typer.Option(help="Redis, for raw messages; by default the one on this machine.")]
Page = Annotated[str | None, typer.Option(help="The page, by its address; by default the one on this machine.")]
Wait = Annotated[float, typer.Option(help="How many seconds what was planted may take to be found.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON: every way, what was asked, and what was seen.")]


def selftest_leaks(
    gateway: Url = None, redis_url: RedisUrl = None, page: Page = None, wait: Wait = 120, as_json: AsJson = False
) -> None:
    """Plant sentences in tenants of its own, and ask for them in every way as everyone who must not see them.

    The exit status is 1 if one was seen, or a way could not be tried.
    """
    settings = CliSettings()
    console = Console(highlight=False, soft_wrap=True, stderr=as_json)
    url = gateway or settings.gateway
    ours = gateway is None and settings.gateway_is_local
    with open_stage(url, operator_token(settings.state.operator_token), local=settings.gateway_is_local) as stage:
        stage.redis_url = redis_url or (settings.redis if ours else None)
        stage.page_url = page or (f"http://{settings.reachable_host}:{settings.page_port}" if ours else None)
        stage.wait_seconds = wait
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # who ends it early leaves nothing planted either
        number = itertools.count(1)
        console.print("planting")
        report = run(stage, lambda record: console.print(f"{next(number)}/{len(WAYS)} {_line(record)}", markup=False))
    if as_json:
        print(json.dumps(report.as_json()))
    else:
        console.print(_verdict(report), markup=False)
    if not report.clean:
        raise typer.Exit(1)


def _line(record: Record) -> str:
    found = [f"SEEN by {s.asker}: {s.canary} ({s.call})" for s in record.seen]
    found += [f"TAKEN by {t.asker}: {t.call} ({t.status})" for t in record.trespasses]
    found += [f"not tried: {reason}" for reason in dict.fromkeys(record.untried)]
    return "\n  ".join([f"{record.way}: {len(record.asked)} asked as {len(record.askers)}", *found])


def _verdict(report: Report) -> str:
    lost = "".join(f"\n{reason}" for reason in report.lost)
    return f"{len(report.records)} ways, {report.canaries_seen} canaries seen{lost}"
