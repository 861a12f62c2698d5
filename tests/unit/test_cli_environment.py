"""Which process is given what: least is best."""

import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sluice.access import Level
from sluice.acl import PRODUCER_USER
from sluice.cli import programs as table
from sluice.cli.programs import Program, Wave
from sluice.cli.redis_users import write_acl
from sluice.cli.settings import CliSettings
from sluice.cli.state import StateFolder
from sluice.errors import ConfigurationError

SECRETS = {
    "GEMINI_API_KEY": "gemini-secret",
    "AZURE_OPENAI_API_KEY": "azure-secret",
    "AZURE_OPENAI_ENDPOINT": "https://azure.example",
    "CORA_AUTH_TOKEN": "cora-secret",
    "SLUICE_DATABASE_URL": "postgresql+asyncpg://user:secret@db/sluice",
    "SLUICE_ADMIN_PASSWORD": "admin-secret",
    "SLUICE_INTERNAL_KEY_FILE": "/keys/internal",
    "SLUICE_CHROMA_INTERNAL_URL": "http://chroma-internal",
}
ENVIRONMENT = {"PATH": "/bin", "HOME": "/home/a", "AWS_SECRET_ACCESS_KEY": "foreign", "PORT": "1", **SECRETS}
MODELS = {"GEMINI_API_KEY", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"}
REDIS_WAVES = (Wave.WORKERS, Wave.GATEWAY)
ABOVE_EXTERNAL = {"SLUICE_INTERNAL_KEY_FILE", "SLUICE_CHROMA_INTERNAL_URL"}


@pytest.fixture(autouse=True)
def no_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own `.env` is not read."""
    monkeypatch.chdir(tmp_path)


def programs(tmp_path: Path, **extra: str) -> dict[str, Program]:
    settings = CliSettings(state_dir=tmp_path)
    return {program.name: program for program in table.table(settings, ENVIRONMENT | extra)}


@pytest.mark.parametrize("name", ["ingest-worker-external", "retriever-external", "llm-router-external"])
def test_an_external_lane_knows_neither_the_internal_server_nor_the_internal_key(tmp_path: Path, name: str) -> None:
    environment = programs(tmp_path)[name].environment
    assert not ABOVE_EXTERNAL & set(environment)
    assert not any("internal" in value.lower() for value in environment.values())
    assert environment["SLUICE_LANE"] == "EXTERNAL"
    assert environment["SLUICE_EXTERNAL_KEY_FILE"] == str(tmp_path / "keys" / "level-external.key")


@pytest.mark.parametrize("name", ["ingest-worker-internal", "retriever-internal"])
def test_an_internal_lane_knows_both_levels(tmp_path: Path, name: str) -> None:
    environment = programs(tmp_path)[name].environment
    assert set(environment) >= ABOVE_EXTERNAL | {"SLUICE_EXTERNAL_KEY_FILE", "SLUICE_CHROMA_EXTERNAL_URL"}


def test_the_gateway_seals_at_both_levels_and_never_reads_the_index(tmp_path: Path) -> None:
    environment = programs(tmp_path)["gateway"].environment
    assert {"SLUICE_EXTERNAL_KEY_FILE", "SLUICE_INTERNAL_KEY_FILE"} <= set(environment)
    assert not [name for name in environment if "CHROMA" in name]


def owners(tmp_path: Path, secret: str, **extra: str) -> set[str]:
    return {name for name, program in programs(tmp_path, **extra).items() if secret in program.environment}


def test_each_secret_reaches_those_alone_who_work_with_it(tmp_path: Path) -> None:
    routers = {"llm-router-external", "llm-router-internal"}
    assert all(owners(tmp_path, key) == routers for key in MODELS)
    assert owners(tmp_path, "CORA_AUTH_TOKEN") == {"log-bridge"}
    assert owners(tmp_path, "SLUICE_DATABASE_URL") == owners(tmp_path, "SLUICE_ADMIN_PASSWORD") == {"gateway"}
    assert owners(tmp_path, "AWS_SECRET_ACCESS_KEY") == set()


def test_ways_in_are_the_gateways_and_where_the_page_is_found_the_pages_too(tmp_path: Path) -> None:
    for name in ("SLUICE_OIDC_ISSUERS", "SLUICE_SMTP_PASSWORD_FILE"):
        assert owners(tmp_path, name, **{name: "[]"}) == {"gateway"}
    assert owners(tmp_path, "SLUICE_PUBLIC_URL") == {"gateway", "frontend"}
    found = {name: programs(tmp_path)[name].environment["SLUICE_PUBLIC_URL"] for name in ("gateway", "frontend")}
    assert set(found.values()) == {"http://127.0.0.1:7860"}
    outside = programs(tmp_path, SLUICE_PUBLIC_URL="https://support.example.com")["frontend"].environment
    assert outside["SLUICE_PUBLIC_URL"] == "https://support.example.com"


def test_who_embeds_gets_the_key_of_the_embedding_provider(tmp_path: Path) -> None:
    embedding = owners(tmp_path, "GEMINI_API_KEY", SLUICE_EMBEDDING_PROVIDER="gemini")
    assert embedding == {
        f"{name}-{lane.lower()}" for name in ("ingest-worker", "retriever", "llm-router") for lane in Level
    }
    assert owners(tmp_path, "AZURE_OPENAI_API_KEY", SLUICE_EMBEDDING_PROVIDER="gemini") == {
        "llm-router-external",
        "llm-router-internal",
    }


def test_the_front_end_learns_the_gateways_address_and_nothing_else_of_the_system(tmp_path: Path) -> None:
    environment = programs(tmp_path)["frontend"].environment
    assert environment["SLUICE_GATEWAY_URL"] == "http://127.0.0.1:8000"
    assert not set(environment) & {*SECRETS, "SLUICE_REDIS_URL", "SLUICE_OPERATOR_TOKEN_FILE"}


def test_an_llm_router_opens_what_its_lane_may_read_and_knows_no_server(tmp_path: Path) -> None:
    environment = programs(tmp_path)["llm-router-internal"].environment
    assert {"SLUICE_EXTERNAL_KEY_FILE", "SLUICE_INTERNAL_KEY_FILE"} <= set(environment)
    assert not [name for name in environment if "CHROMA" in name]


@pytest.mark.parametrize("name", ["log-bridge", "frontend"])
def test_who_reads_nothing_sealed_has_no_key_and_no_server_of_a_level(tmp_path: Path, name: str) -> None:
    assert not [name for name in programs(tmp_path)[name].environment if "KEY_FILE" in name or "CHROMA" in name]


def test_other_settings_reach_the_services(tmp_path: Path) -> None:
    assert owners(tmp_path, "SLUICE_LOG_LEVEL", SLUICE_LOG_LEVEL="DEBUG") >= {
        "gateway",
        "retriever-external",
        "frontend",
    }


def test_the_collectors_address_and_its_secret_reach_the_services_and_no_store_and_no_page(tmp_path: Path) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"):
        told = owners(tmp_path, name, **{name: "http://collector:4318"})
        assert told == {
            "gateway",
            "log-bridge",
            *(f"{kind}-{lane.lower()}" for kind in ("ingest-worker", "retriever", "llm-router") for lane in Level),
        }


def test_every_program_has_a_port_of_its_own(tmp_path: Path) -> None:
    ports = [program.port for program in programs(tmp_path).values()]
    assert len(set(ports)) == len(ports) == 12


def test_a_store_that_is_elsewhere_is_not_started(tmp_path: Path) -> None:
    settings = CliSettings.model_validate(
        {"state_dir": tmp_path, "redis_url": "redis://elsewhere/0", "chroma_external_url": "http://elsewhere"}
    )
    listed = {program.name: program for program in table.table(settings, ENVIRONMENT)}
    assert {name for name, program in listed.items() if program.wave is Wave.STORES} == {"chroma-internal"}
    assert listed["gateway"].environment["SLUICE_REDIS_URL"] == "redis://elsewhere/0"
    assert listed["retriever-external"].environment["SLUICE_CHROMA_EXTERNAL_URL"] == "http://elsewhere"


def test_each_process_is_a_user_of_its_own_for_redis(tmp_path: Path) -> None:
    """case 44: its password is made once, and stands on no command line."""
    listed = programs(tmp_path)
    urls = {name: urlsplit(p.environment["SLUICE_REDIS_URL"]) for name, p in listed.items() if p.wave in REDIS_WAVES}
    assert {name: url.username for name, url in urls.items()} == {name: name for name in urls}
    assert len({url.password for url in urls.values()}) == len(urls) == 8
    assert not [p for p in listed.values() for url in urls.values() if str(url.password) in " ".join(p.command)]
    assert programs(tmp_path)["gateway"].environment["SLUICE_REDIS_URL"] == urls["gateway"].geturl()


def test_a_redis_elsewhere_may_have_the_users_and_tls_too(tmp_path: Path) -> None:
    write_acl(StateFolder(tmp_path))
    settings = CliSettings.model_validate(
        {
            "state_dir": tmp_path,
            "redis_url": "rediss://elsewhere/0",
            "redis_users": True,
            "redis_ca_file": "/etc/redis/ca.pem",
        }
    )
    given = {p.name: p.environment.get("SLUICE_REDIS_URL") for p in table.table(settings, ENVIRONMENT)}
    password = (tmp_path / "keys/redis/log-bridge.password").read_text()
    assert given["log-bridge"] == f"rediss://log-bridge:{password}@elsewhere/0?ssl_ca_certs=%2Fetc%2Fredis%2Fca.pem"


def test_without_its_users_password_a_command_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no password of Redis at .*/keys/redis/producer.password"):
        CliSettings(state_dir=tmp_path).redis_of(PRODUCER_USER)


def test_a_missing_package_is_told_with_what_to_do() -> None:
    with pytest.raises(Exception, match="not installed: no_such_package; run `make install`"):
        table.check_packages(["json", "no_such_package"])


def test_the_operators_button_runs_this_machines_self_test_with_what_it_needs_and_no_key(tmp_path: Path) -> None:
    ours = {"SLUICE_PAGE_PORT": "7999", "SLUICE_REDIS_URL": "redis://elsewhere:6379/0"}
    environment = programs(tmp_path, **ours)["gateway"].environment
    command = json.loads(environment["SLUICE_SELFTEST_COMMAND"])
    assert command == [sys.executable, "-m", "sluice.cli", "selftest", "leaks", "--json"]
    found = json.loads(environment["SLUICE_SELFTEST_ENVIRONMENT"])
    assert {name: value for name, value in found.items() if name.startswith("SLUICE_")} == {
        **ours,
        "SLUICE_STATE_DIR": str(tmp_path),
    }
    assert not SECRETS.keys() & found.keys()
    assert "AWS_SECRET_ACCESS_KEY" not in found


def test_nobody_but_the_gateway_is_told_of_it_and_only_sluice_up_says_what_is_run(tmp_path: Path) -> None:
    extra = {"SLUICE_SELFTEST_COMMAND": '["id"]', "SLUICE_SELFTEST_ENVIRONMENT": "{}"}
    assert owners(tmp_path, "SLUICE_SELFTEST_COMMAND", **extra) == {"gateway"}
    assert "id" not in json.loads(programs(tmp_path, **extra)["gateway"].environment["SLUICE_SELFTEST_COMMAND"])
