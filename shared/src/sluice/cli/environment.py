"""Which process is given which part of the environment: nothing that it could leak without need."""

import json
import sys
from collections.abc import Mapping

from sluice.access import Level
from sluice.acl import Process
from sluice.cli.settings import CliSettings

_SYSTEM = ("HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER", "USER_AGENT", "VIRTUAL_ENV")
_SYSTEM_PREFIXES = ("LC_", "PYTHON", "PROMETHEUS_")
_NETWORK = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
_THRIFT = {
    # Each worker works on one thing at a time; pools a core wide in a dozen processes only cost memory.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MALLOC_ARENA_MAX": "2",
    "PYTHONUNBUFFERED": "1",
}
_GEMINI = ("GEMINI_API_KEY",)
_AZURE = ("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT")
_EMBEDDING = {"gemini": _GEMINI, "azure": _AZURE}
_INDEXING = ("ingest-worker", "retriever")
_SEALING = (*_INDEXING, "llm-router", "gateway")
_OWNERS = {
    "SLUICE_ADMIN": "gateway",
    "SLUICE_DATABASE": "gateway",
    "SLUICE_OIDC": "gateway",
    "SLUICE_OPERATOR": "gateway",
    "SLUICE_PASSPORT_KEY": "gateway",
    "SLUICE_PUBLIC": "gateway",
    "SLUICE_SMTP": "gateway",
    "SLUICE_CORA": "log-bridge",
    "SLUICE_LOG_SEARCH": "log-bridge",
    "SLUICE_PAGE": "frontend",
}
_SET_HERE = (
    "SLUICE_HOST",
    "SLUICE_LANE",
    "SLUICE_CHROMA_",
    "SLUICE_REDIS_",
    "SLUICE_API_KEY",
    "SLUICE_SELFTEST_",
    "SLUICE_INTERNAL_KEY",
    "SLUICE_EXTERNAL_KEY",
    "SLUICE_INTERNAL_USER",
    "SLUICE_EXTERNAL_USER",
)

_OF_SELFTEST = (
    "SLUICE_HOST",
    "SLUICE_GATEWAY_URL",
    "SLUICE_GATEWAY_PORT",
    "SLUICE_PAGE_PORT",
    "SLUICE_VALKEY_PORT",
    "SLUICE_REDIS_URL",
    "SLUICE_REDIS_USER",
    "SLUICE_REDIS_USERS",
    "SLUICE_REDIS_PASSWORD_FILE",
    "SLUICE_REDIS_CA_FILE",
)
_SELFTEST = (sys.executable, "-m", "sluice.cli", "selftest", "leaks", "--json")


def base(environment: Mapping[str, str]) -> dict[str, str]:
    """What any program needs to run at all."""
    network = {*_NETWORK, *map(str.lower, _NETWORK)}
    kept = {
        name: value
        for name, value in environment.items()
        if name in _SYSTEM or name in network or name.startswith(_SYSTEM_PREFIXES)
    }
    return {**_THRIFT, **{name: environment[name] for name in _THRIFT if name in environment}, **kept}


def of_service(name: str, lane: Level | None, settings: CliSettings, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of one service; the front end learns the gateway's address and nothing else of the system.

    Its cookie key is the one thing that it keeps in the state folder, so that a restart signs nobody out.
    """
    if name == "frontend":
        return base(environment) | _of_page(settings, environment)
    given = base(environment) | _shared(name, environment)
    given |= {
        "SLUICE_STATE_DIR": str(settings.state.root),
        "SLUICE_REDIS_URL": settings.redis_of(Process(name, lane).user),
    }
    given |= {variable: environment[variable] for variable in _vendor(name, environment) if variable in environment}
    given |= _levels(name, lane, settings, environment)
    if name == "gateway":
        given |= _public(settings, environment) | _selftest(settings, environment)
    return given | ({"SLUICE_LANE": lane.value} if lane else {})


def _selftest(settings: CliSettings, environment: Mapping[str, str]) -> dict[str, str]:
    """What the operators' button runs: a command of this machine, which finds its token and passwords in the keys."""
    found = {name: environment[name] for name in _OF_SELFTEST if name in environment}
    own = base(environment) | found | {"SLUICE_STATE_DIR": str(settings.state.root)}
    return {"SLUICE_SELFTEST_COMMAND": json.dumps(_SELFTEST), "SLUICE_SELFTEST_ENVIRONMENT": json.dumps(own)}


def _of_page(settings: CliSettings, environment: Mapping[str, str]) -> dict[str, str]:
    plain = ("SLUICE_LOG_LEVEL", "SLUICE_SHUTDOWN_GRACE_SECONDS")
    kept = {name: value for name, value in environment.items() if name.startswith("SLUICE_PAGE") or name in plain}
    kept |= _public(settings, environment)
    return kept | {"SLUICE_STATE_DIR": str(settings.state.root), "SLUICE_GATEWAY_URL": settings.gateway}


def _public(settings: CliSettings, environment: Mapping[str, str]) -> dict[str, str]:
    """Where browsers find the page: here, unless something stands in front of it."""
    here = f"http://{settings.reachable_host}:{settings.page_port}"
    return {"SLUICE_PUBLIC_URL": environment.get("SLUICE_PUBLIC_URL", here)}


def _shared(name: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Sluice's settings and OpenTelemetry's, but for those of another service, others' ports, and what is set here."""
    foreign = tuple(prefix for prefix, owner in _OWNERS.items() if owner != name)
    return {
        variable: value
        for variable, value in environment.items()
        if variable.startswith(("SLUICE_", "OTEL_"))
        and not variable.startswith(foreign + _SET_HERE)
        and not (variable.startswith("SLUICE_") and variable.endswith("_PORT"))
    }


def _vendor(name: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the vendors' secrets that a service works with."""
    if name == "llm-router":
        return _GEMINI + _AZURE
    if name == "log-bridge":
        return ("CORA_AUTH_TOKEN",)
    if name in _INDEXING:
        return _EMBEDDING.get(environment.get("SLUICE_EMBEDDING_PROVIDER", "local"), ())
    return ()


def _levels(name: str, lane: Level | None, settings: CliSettings, environment: Mapping[str, str]) -> dict[str, str]:
    """The keys and servers of the levels that the process may read; without a lane, of both."""
    urls = {Level.EXTERNAL: settings.chroma_external, Level.INTERNAL: settings.chroma_internal}
    given: dict[str, str] = {}
    for level in (lane or Level.INTERNAL).readable:
        key = f"SLUICE_{level}_KEY_FILE"
        if name in _SEALING:
            given[key] = environment.get(key, str(settings.state.keys / f"level-{level.lower()}.key"))
        if name in _INDEXING:
            given[f"SLUICE_CHROMA_{level}_URL"] = urls[level]
    return given
