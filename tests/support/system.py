"""The whole system, started as an operator starts it, on free ports."""

import os
import re
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from tests.providers import RemoteScript
from tests.support.api import Person
from tests.support.ports import free_port
from tests.support.waiting import wait_for

PASSWORD = "a long enough password"
PORTS = (
    "SLUICE_GATEWAY_PORT",
    "SLUICE_PAGE_PORT",
    "SLUICE_VALKEY_PORT",
    "SLUICE_CHROMA_EXTERNAL_PORT",
    "SLUICE_CHROMA_INTERNAL_PORT",
    "SLUICE_INGEST_WORKER_EXTERNAL_PORT",
    "SLUICE_INGEST_WORKER_INTERNAL_PORT",
    "SLUICE_RETRIEVER_EXTERNAL_PORT",
    "SLUICE_RETRIEVER_INTERNAL_PORT",
    "SLUICE_LLM_ROUTER_EXTERNAL_PORT",
    "SLUICE_LLM_ROUTER_INTERNAL_PORT",
    "SLUICE_LOG_BRIDGE_PORT",
)
RIGHTS = ["read", "upload", "teach", "logs", "admin", "declassify"]


@dataclass
class System:
    """A system that `sluice up` started; `environment` is what it was given."""

    environment: dict[str, str]
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    tenants: Iterator[int] = field(default_factory=lambda: iter(range(1000)))
    _seen: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environment['SLUICE_GATEWAY_PORT']}"

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self.environment['SLUICE_PAGE_PORT']}"

    @property
    def state(self) -> Path:
        return Path(self.environment["SLUICE_STATE_DIR"])

    @property
    def redis_url(self) -> str:
        """Redis as its operator."""
        password = (self.state / "keys" / "redis" / "operator.password").read_text()
        return f"redis://operator:{password}@127.0.0.1:{self.environment['SLUICE_VALKEY_PORT']}/0"

    def sluice(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).with_name("sluice")), *arguments]

    def start(self) -> None:
        with (self.folder / "terminal.log").open("ab") as terminal:
            self.process = subprocess.Popen(
                self.sluice("up"),
                env=self.environment,
                cwd=self.folder,
                stdout=terminal,
                stderr=terminal,
                start_new_session=True,
            )
        self.wait_until_ready()

    def wait_until_ready(self, seconds: float = 120) -> None:
        """Ready is when `sluice up` says where to click."""

        def up() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, f"sluice up ended: {self.terminal()[-3000:]}"
            return f"page   {self.page}" in self.terminal()[self._seen :]

        wait_for(up, f"sluice up: {self.terminal()[-3000:]}", seconds=seconds)
        self._seen = len(self.terminal())

    def terminal(self) -> str:
        return (self.folder / "terminal.log").read_text(errors="replace")

    def stop(self) -> None:
        """Ctrl-C."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(90)

    def samples(self, service: str, metric: str) -> Counter[str]:
        """The metric's values by stream, of all processes of the service together."""
        prefix, found = f"SLUICE_{service.upper().replace('-', '_')}_", Counter[str]()
        for name, port in self.environment.items():
            if name.startswith(prefix) and name.endswith("PORT"):
                text = httpx2.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
                for stream, value in re.findall(rf'^{metric}{{stream="([^"]+)"}} (\S+)$', text, re.M):
                    found[stream] += int(float(value))
        return found

    def tenant(self) -> str:
        """A tenant of its own, as an operator makes one."""
        slug = f"tenant-{next(self.tenants)}-{secrets.token_hex(2)}"
        self._operate("/api/v1/tenants", {"slug": slug, "name": slug})
        return slug

    def person(self, tenant: str, email: str, rights: list[str]) -> Person:
        """A person of the tenant, signed in with a password of their own."""
        made = self._operate(f"/api/v1/tenants/{tenant}/people", {"email": email, "rights": rights})
        return Person.sign_in(self.url, email, made["one_time_password"], new_password=PASSWORD, tenant=tenant)

    def _operate(self, path: str, body: dict[str, object]) -> dict[str, str]:
        token = (self.state / "keys" / "operator.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        response = httpx2.post(self.url + path, json=body, headers=headers, trust_env=False)
        assert response.status_code == 201, response.text
        return response.json()


@dataclass(frozen=True)
class People:
    """Staff and a customer of one tenant."""

    internal: Person
    external: Person


def people_of(system: System) -> People:
    """Of a tenant of their own."""
    tenant = system.tenant()
    return People(
        system.person(tenant, "asha@razorpay.com", RIGHTS), system.person(tenant, "carl@example.com", ["read"])
    )


def settings(folder: Path, vendors: str) -> dict[str, str]:
    """The environment of a system with its state in the folder, whose models are played at the address."""
    return {
        **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
        "HOME": str(folder),
        "SLUICE_STATE_DIR": str(folder / "state"),
        "SLUICE_ADMIN_EMAIL": "root@razorpay.com",
        "SLUICE_ADMIN_PASSWORD": PASSWORD,
        **{name: str(free_port()) for name in PORTS},
        "GEMINI_API_KEY": "test-gemini-key",
        "SLUICE_GEMINI_BASE_URL": vendors,
        "AZURE_OPENAI_API_KEY": "test-azure-key",
        "AZURE_OPENAI_ENDPOINT": vendors,
        "SLUICE_PERSON_REQUESTS_PER_MINUTE": "0",
        "SLUICE_PERSON_QUESTIONS_PER_MINUTE": "0",
    }


@contextmanager
def vendor_process() -> Iterator[RemoteScript]:
    """The models, played on loopback."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.providers", "--port", str(port)], start_new_session=True)
    with RemoteScript(f"http://127.0.0.1:{port}") as script:
        wait_for(lambda: _answers(script), "the provider")
        yield script
    process.terminate()
    process.wait(10)


def _answers(script: RemoteScript) -> bool:
    try:
        script.calls()
    except httpx2.HTTPError:
        return False
    return True
