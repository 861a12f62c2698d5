"""`sluice audit`: the chains of the audit log, read from the running gateway and verified here, by the public key."""

import json
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from pydantic import ValidationError
from rich.console import Console

from sluice.access import PassportVerifier
from sluice.audit import AuditRecord, ChainCheck, Fault, Head
from sluice.cli.gateway import Gateway, gateway, operator_token
from sluice.cli.settings import CliSettings
from sluice.errors import PermanentError
from sluice.passportkeys import PublicKeyFiles

_PATH = "/audit/chains"
Tenant = Annotated[str | None, typer.Option(help="One tenant, by its short name; every chain when not given.")]
KeptHeads = Annotated[
    Path | None, typer.Option("--heads", help="Heads that an earlier `verify --json` printed, kept elsewhere.")
]
PublicKeys = Annotated[
    Path | None, typer.Option("--keys", help="Public passport keys: a folder or a file; else the state folder's.")
]


def audit_verify(
    tenant: Tenant = None,
    heads: KeptHeads = None,
    keys: PublicKeys = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON: the heads to keep, and what is wrong.")] = False,
) -> None:
    """Look for records that were changed, dropped, reordered or cut off; exit 1 if there are any."""
    settings, kept = CliSettings(), _kept(heads)
    verifier = PassportVerifier.of(PublicKeyFiles(keys or settings.state.keys))
    verified: list[dict[str, Any]] = []
    with _operator(settings) as api:
        for chain in _chains(api, tenant, kept):
            check = ChainCheck(chain["chain"], kept.get(chain["chain"]))
            with api.lines(_records(chain)) as lines:
                head, faults = _verified(check, lines, verifier)
            verified.append(chain | {"head": head, "records": check.sequence, "faults": faults})
    _show(verified, as_json=as_json)
    if any(chain["faults"] for chain in verified):
        raise typer.Exit(1)


def audit_export(tenant: Annotated[str, typer.Option(help="The tenant's short name.")]) -> None:
    """Write a tenant's records to the standard output as JSON lines, oldest first, and the signed head last."""
    with _operator(CliSettings()) as api:
        [chain] = _chains(api, tenant, {})
        with api.lines(_records(chain)) as lines:
            for line in lines:
                typer.echo(line)


def _verified(
    check: ChainCheck, lines: Iterable[str], verifier: PassportVerifier
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    faults, head = list[Fault](), None
    for line in lines:
        read = json.loads(line)
        if "head" in read:
            head = Head(**read["head"])
            continue
        try:
            faults += check.take(AuditRecord(**read))
        except ValidationError:
            faults.append(Fault(sequence=check.sequence + 1, what="cannot be read"))
    faults += check.end(head, verifier)
    return (head.model_dump() if head else None), [fault.model_dump() for fault in faults]


def _chains(api: Gateway, tenant: str | None, kept: dict[str, dict[int, str]]) -> Iterator[dict[str, Any]]:
    """Also those of which a head was kept, and nothing else is left."""
    found = api.get(_PATH)["chains"]
    names = {chain["chain"] for chain in found}
    found += [{"chain": name, "tenant": None} for name in kept if name not in names]
    wanted = [{"chain": c["chain"], "tenant": c["tenant"]} for c in found if tenant in (None, c["tenant"])]
    if not wanted:
        raise PermanentError(f"there is no tenant {tenant}")
    return iter(wanted)


def _kept(path: Path | None) -> dict[str, dict[int, str]]:
    """Hashes by chain and number. Raises PermanentError."""
    if path is None:
        return {}
    try:
        heads = [Head(**chain["head"]) for chain in json.loads(path.read_text())["chains"] if chain["head"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PermanentError(f"{path} is not what `sluice audit verify --json` prints") from error
    return {head.chain: {head.sequence: head.hash} for head in heads if head.sequence}


def _records(chain: dict[str, Any]) -> str:
    return f"{_PATH}/{quote(chain['chain'], safe='')}/records"


def _show(verified: list[dict[str, Any]], *, as_json: bool) -> None:
    wrong = sum(1 for chain in verified if chain["faults"])
    if as_json:
        _console().print(json.dumps({"chains": verified, "wrong": wrong}))
        return
    for chain in verified:
        name, head = chain["tenant"] or chain["chain"], chain["head"]
        _console().print(f"{name}: {chain['records']} records, head {head['hash'] if head else 'missing'}")
        for fault in chain["faults"]:
            _console().print(f"{name}: record {fault['sequence']}: {fault['what']}")
    _console().print(f"{len(verified)} chains, {wrong} wrong")


@contextmanager
def _operator(settings: CliSettings) -> Generator[Gateway]:
    with gateway(settings, operator_token(settings.state.operator_token)) as api:
        yield api


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True, markup=False)
