"""Every route and stream stands in the list of some way of `sluice selftest leaks`, and nothing else does."""

import tempfile
from pathlib import Path

from gateway.app import create_app
from sluice.cli.selftest.ways import WAYS, uncovered
from sluice.topology import GROUPS
from tests.support.gateway import gateway_adapters, gateway_settings
from tests.support.identity import Office

_OUTSIDE_THE_DOCUMENT = {"GET /docs", "GET /openapi.json"}


def routes() -> set[str]:
    """As the OpenAPI document has them."""
    with tempfile.TemporaryDirectory() as folder:
        settings = gateway_settings(Path(folder), "redis://127.0.0.1:1/0")
        document = create_app(settings, adapters=gateway_adapters(settings, Office())).openapi()
    return {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}


def problems() -> list[str]:
    there = {*routes(), *_OUTSIDE_THE_DOCUMENT, *GROUPS}
    missing = [f"{name}: in no way's list of sluice.cli.selftest.ways" for name in uncovered(there, ())]
    listed = {name for way in WAYS for name in (*way.routes, *way.streams)}
    return missing + [f"{name}: stands in the list of a way, and is not there" for name in sorted(listed - there)]
