"""docker-compose.yml against the code: what each container is given, without starting one."""

import fnmatch
import secrets
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import AliasChoices
from pydantic_settings import BaseSettings

from gateway.settings import GatewaySettings
from ingest_worker.settings import IngestSettings
from llm_router.settings import LlmRouterSettings
from log_bridge.settings import LogBridgeSettings
from retriever.settings import RetrieverSettings
from sluice.acl import OPERATOR_USER, PRODUCER_USER, users
from sluice.cli.keys import create_keys
from sluice_frontend.settings import Settings as FrontendSettings

ROOT = Path(__file__).parents[2]
LANED = ("ingest-worker", "retriever", "llm-router")
EXTERNAL = [f"{name}-external" for name in LANED]
LANES = EXTERNAL + [f"{name}-internal" for name in LANED]
OURS = [*LANES, "gateway", "log-bridge", "frontend"]
KEYS = "/var/lib/sluice/keys"
SETTINGS: dict[str, type[BaseSettings]] = {
    "gateway": GatewaySettings,
    "ingest-worker": IngestSettings,
    "retriever": RetrieverSettings,
    "llm-router": LlmRouterSettings,
    "log-bridge": LogBridgeSettings,
    "frontend": FrontendSettings,
}
MODELS = {"GEMINI_API_KEY", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"}
# What a role's volume holds; `keys` itself, with everything, is the one-off service's alone.
GIVEN = {
    "public": {"passport*.pub"},
    "external": {"passport*.pub", "level-external.key"},
    "internal": {"passport*.pub", "level-external.key", "level-internal.key"},
}


@cache
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def service(name: str) -> dict[str, Any]:
    return compose()["services"][name]


def environment(name: str) -> dict[str, str]:
    return service(name).get("environment", {})


def volumes(name: str) -> dict[str, str]:
    """Volume by the folder that it is mounted on; `:ro` is kept with the volume."""
    parts = [entry.split(":", 2) for entry in service(name).get("volumes", [])]
    return {target: ":".join([volume, *mode]) for volume, target, *mode in parts}


def handed_out() -> dict[str, set[str]]:
    """Role by role, the files that the one-off service copies into its volume."""
    script = service("init")["command"][-1]
    copies = [line.split() for line in script.splitlines() if line.strip().startswith("cp ")]
    return {target.removeprefix("/keys/").rstrip("/"): set(names) for _, _, *names, target in copies}


def settings_of(name: str) -> type[BaseSettings]:
    return SETTINGS[name.removesuffix("-external").removesuffix("-internal")]


def known(settings: type[BaseSettings]) -> set[str]:
    """The names of the variables that these settings are read from."""
    names: set[str] = set()
    for field, info in settings.model_fields.items():
        alias = info.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias or f"SLUICE_{field}"]
        names |= {str(choice).upper() for choice in choices}
    return names


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_a_service_is_one_of_its_settings(name: str) -> None:
    assert set(environment(name)) <= known(settings_of(name))


@pytest.mark.parametrize("name", OURS)
def test_every_service_listens_where_the_image_says(name: str) -> None:
    """The image sets one port for all, and the health check asks there."""
    recipe = (ROOT / "Dockerfile").read_text()
    port = "SLUICE_PAGE_PORT" if name == "frontend" else "SLUICE_PORT"
    assert f"{port}=8000" in recipe
    if name == "gateway":
        assert settings_of(name).model_fields["port"].default == 8000
        assert not {"SLUICE_GATEWAY_PORT", "SLUICE_PORT"} & set(environment(name))
    else:
        assert port in known(settings_of(name))


@pytest.mark.parametrize("name", LANES)
def test_a_lane_starts_with_what_it_is_given(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings themselves refuse a lane without its levels, and a user of Redis without a password."""
    for variable, value in environment(name).items():
        monkeypatch.setenv(variable, "" if str(value).startswith("${") else str(value))
    (tmp_path / "password").write_text(secrets.token_urlsafe(24))
    monkeypatch.setenv("SLUICE_REDIS_PASSWORD_FILE", str(tmp_path / "password"))
    assert settings_of(name)(port=8000).lane == name.rpartition("-")[2].upper()  # type: ignore[call-arg, attr-defined]


@pytest.mark.parametrize("name", EXTERNAL)
def test_an_external_lane_gets_no_key_address_or_network_of_internal(name: str) -> None:
    given = [*environment(name), *environment(name).values(), *service(name)["networks"], *volumes(name).values()]
    assert not [text for text in given if "internal" in str(text).lower()]
    assert volumes(name)[KEYS] == "keys-external:ro"


def test_the_internal_index_shares_its_one_network_with_the_internal_lanes_alone() -> None:
    [network] = service("chroma-internal")["networks"]
    members = {name for name, given in compose()["services"].items() if network in given.get("networks", [])}
    assert members == {"chroma-internal", "ingest-worker-internal", "retriever-internal"}
    assert "ports" not in service("chroma-internal")


@pytest.mark.parametrize(
    "network", ["queue-external", "queue-internal", "database", "index-external", "index-shared", "index-internal"]
)
def test_the_networks_of_the_stores_have_no_way_out(network: str) -> None:
    assert compose()["networks"][network] == {"internal": True}


def test_each_role_is_handed_its_own_keys(tmp_path: Path) -> None:
    roles = handed_out()
    assert {role: roles[role] for role in GIVEN} == GIVEN
    assert roles["gateway"] == GIVEN["internal"] | {"passport.key", "operator.token", "postgres.pgpass"}
    assert roles["database"] == {"postgres.password"}
    made_elsewhere = {"postgres.pgpass", "postgres.password"}
    made = create_keys(tmp_path)
    assert all(fnmatch.filter(made, name) for name in set().union(*roles.values()) - made_elsewhere)


REDIS_USERS = [*LANES, "gateway", "log-bridge"]


@pytest.mark.parametrize("name", REDIS_USERS)
def test_each_service_is_a_user_of_its_own_for_redis_and_alone_has_its_password(name: str) -> None:
    """case 44: the service that makes the keys puts each user's password into the volume of that name."""
    assert environment(name)["SLUICE_REDIS_USER"] == name
    folder = str(Path(environment(name)["SLUICE_REDIS_PASSWORD_FILE"]).parent)
    assert volumes(name)[folder] == f"redis-{name}:ro"
    assert owners(f"redis-{name}") == {"init", name}
    assert volumes("init")[f"/keys/redis-{name}"] == f"redis-{name}"
    assert f"/keys/redis-{name} " in (ROOT / "Dockerfile").read_text(), "else its volume belongs to root"


def test_redis_knows_nobody_but_its_users() -> None:
    """case 44: no secret stands in the file."""
    assert set(REDIS_USERS) == set(users()) - {PRODUCER_USER, OPERATOR_USER}
    assert "--aclfile /run/keys/users.acl" in service("redis")["command"]
    assert volumes("redis")["/run/keys"] == "redis-users:ro"
    assert owners("redis-users") == {"init", "redis"}
    script = service("init")["command"][-1]
    assert "sluice redis acl" in script
    assert "install -m 0444 redis/users.acl redis/operator.password /keys/redis/" in script


def test_the_lanes_meet_at_stores_alone() -> None:
    """An EXTERNAL worker reaches no INTERNAL one, nor the gateway: not even their ports of health."""
    networks = {name: set(given.get("networks", [])) for name, given in compose()["services"].items()}
    for name in EXTERNAL:
        met = {other for other, theirs in networks.items() if theirs & networks[name]} - set(EXTERNAL)
        assert met <= {"redis", "chroma-external"}, name


def owners(volume: str) -> set[str]:
    mounted = {name: set(volumes(name).values()) for name in compose()["services"]}
    return {name for name, used in mounted.items() if used & {volume, f"{volume}:ro"}}


def test_only_the_gateway_holds_the_private_passport_key_and_the_operators_token() -> None:
    assert owners("keys") == {"init"}
    assert owners("keys-gateway") == {"init", "gateway"}
    assert owners("keys-database") == {"init", "postgres"}
    internal = {"ingest-worker-internal", "retriever-internal", "llm-router-internal"}
    assert owners("keys-internal") == {"init"} | internal
    assert owners("data-keys-internal") == {"gateway"} | internal
    assert owners("data-keys-external") == {"gateway", *LANES}


def test_key_files_that_are_named_lie_in_the_mounted_volume() -> None:
    for name in OURS:
        role = volumes(name)[KEYS].removeprefix("keys-").removesuffix(":ro")
        named = [value for variable, value in environment(name).items() if variable.endswith("_KEY_FILE")]
        assert {Path(path).name for path in named} <= handed_out().get(role, set())
        assert {str(Path(path).parent) for path in named} <= {KEYS}


def test_gateway_and_ingest_workers_share_the_blob_store_of_their_levels() -> None:
    assert owners("blobs-external") == {"gateway", "ingest-worker-external", "ingest-worker-internal"}
    assert owners("blobs-internal") == {"gateway", "ingest-worker-internal"}


def test_the_keys_of_providers_reach_those_who_work_with_them() -> None:
    routers = {name for name in OURS if set(environment(name)) >= MODELS and "router" in name}
    assert routers == {"llm-router-external", "llm-router-internal"}
    assert {name for name in OURS if "CORA_AUTH_TOKEN" in environment(name)} == {"log-bridge"}
    for name in ("ingest-worker-external", "ingest-worker-internal", "retriever-external", "retriever-internal"):
        assert all(environment(name)[key].startswith("${SLUICE_EMBEDDING_PROVIDER:+") for key in MODELS)


@pytest.mark.parametrize("name", [*OURS, "chroma-external", "chroma-internal"])
def test_every_service_can_be_scaled_and_is_held_tight(name: str) -> None:
    given = service(name)
    assert "container_name" not in given
    assert given["init"] is given["read_only"] is True
    assert given["cap_drop"] == ["ALL"]
    grace = float(environment(name).get("SLUICE_SHUTDOWN_GRACE_SECONDS", 0))
    assert float(given["stop_grace_period"].removesuffix("s")) > grace


def test_only_the_page_and_the_gateway_are_published_and_on_this_machine_alone() -> None:
    published = {name: given["ports"] for name, given in compose()["services"].items() if "ports" in given}
    assert set(published) == {"gateway", "frontend"}
    assert all(":-127.0.0.1:" in port for ports in published.values() for port in ports)


def test_several_gateways_find_a_port_each() -> None:
    [port] = service("gateway")["ports"]
    first, last = port.partition(":-127.0.0.1:")[2].partition("}")[0].split("-")
    assert int(last) > int(first)


def test_redis_writes_every_change_to_disk_before_it_answers() -> None:
    command = " ".join(service("redis")["command"].split())
    assert "--appendonly yes --appendfsync always" in command
    assert "--maxmemory-policy noeviction" in command
    assert volumes("redis")["/data"] == "redis"


def test_each_image_is_built_once_from_the_one_recipe_for_a_service_that_exists() -> None:
    given = compose()["services"].values()
    built = [(one["image"], one["build"]["args"]["SERVICE"]) for one in given if "build" in one]
    assert sorted(image for image, _ in built) == sorted({one["image"] for one in given if "sluice/" in one["image"]})
    assert all(image == f"sluice/{name}" for image, name in built)
    assert all((ROOT / "services" / name).is_dir() or name in ("frontend", "sluice") for _, name in built)


def test_the_recipe_knows_every_member() -> None:
    """Its cached layer of packages is made from each member's pyproject.toml."""
    recipe = (ROOT / "Dockerfile").read_text()
    members = [path.relative_to(ROOT) for path in (ROOT / "services").glob("*/pyproject.toml")]
    assert all(f"COPY {path} " in recipe for path in members)
