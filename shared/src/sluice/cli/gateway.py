"""The gateway as the commands see it."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2

from sluice.cli.settings import CliSettings
from sluice.errors import ConfigurationError, PermanentError, TransientError

_TIMEOUT_SECONDS = 30


class RefusedError(PermanentError):
    """The gateway said no; `code` is its HTTP status."""

    def __init__(self, detail: str, code: int) -> None:
        super().__init__(detail)
        self.code = code


class Gateway:
    """Calls on the running gateway, as the bearer of one token.

    Every call raises RefusedError with the problem's detail when the gateway refuses, and TransientError when it
    cannot be reached.
    """

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client

    def get(self, path: str, **query: Any) -> Any:
        return self._call("GET", path, params=query)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("POST", path, json=body)

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("PATCH", path, json=body)

    def delete(self, path: str, **query: Any) -> Any:
        return self._call("DELETE", path, params=query)

    def upload(
        self,
        path: str,
        files: Sequence[tuple[str, bytes]],
        fields: dict[str, str],
        *,
        idempotency_key: str | None = None,
    ) -> Any:
        """Files by name and content, as multipart."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._call("POST", path, files=[("files", file) for file in files], data=fields, headers=headers)

    @contextmanager
    def events(self, path: str, body: dict[str, Any]) -> Generator[Iterator[httpx2.ServerSentEvent]]:
        """The server-sent events that answer a POST."""
        with _reached(self._client), self._client.sse(path, method="POST", json=body) as source:
            if source.response.is_error:
                source.response.read()
                raise _refused(source.response)
            yield iter(source)

    @contextmanager
    def lines(self, path: str) -> Generator[Iterator[str]]:
        """The lines that answer a GET, however many there are."""
        with _reached(self._client), self._client.stream("GET", path) as response:
            if response.is_error:
                response.read()
                raise _refused(response)
            yield response.iter_lines()

    def _call(self, method: str, path: str, **content: Any) -> Any:
        with _reached(self._client):
            response = self._client.request(method, path, **content)
        if response.is_error:
            raise _refused(response)
        return response.json() if response.content else None


@contextmanager
def gateway(settings: CliSettings, token: str | None = None) -> Generator[Gateway]:
    """A gateway to call as the bearer of `token`, or as nobody."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx2.Client(
        base_url=f"{settings.gateway}/api/v1",
        headers=headers,
        timeout=_TIMEOUT_SECONDS,
        trust_env=not settings.gateway_is_local,
    ) as client:
        yield Gateway(client)


def operator_token(path: Path) -> str:
    """
    Raises:
        ConfigurationError: there is none yet.
    """
    try:
        return path.read_text().strip()
    except OSError as error:
        raise ConfigurationError(f"no operator token at {path} ({error.strerror}): run `make up` first") from error


@contextmanager
def _reached(client: httpx2.Client) -> Generator[None]:
    try:
        yield
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        address = str(client.base_url).removesuffix("/api/v1/")
        raise TransientError(f"no gateway answers at {address}: run `make up` first") from error
    except httpx2.HTTPError as error:
        raise TransientError(f"the gateway stopped answering: {type(error).__name__}") from error


def _refused(response: httpx2.Response) -> RefusedError:
    try:
        problem = response.json()
        fields = "".join(f"\n  {error.get('field')}: {error.get('message')}" for error in problem.get("errors", []))
        return RefusedError(f"{problem['detail']}{fields}", response.status_code)
    except (ValueError, KeyError, TypeError, AttributeError):
        phrase = HTTPStatus(response.status_code).phrase
        return RefusedError(f"the gateway answered {response.status_code} {phrase}", response.status_code)
