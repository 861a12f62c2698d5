"""An OpenID Connect issuer on a loopback port: discovery, keys, the code flow with PKCE. It can be told to lie."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from joserfc import jws, jwt
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.support.ports import free_port
from tests.support.serving import serving

CLIENT_ID, CLIENT_SECRET = "sluice", "a client's secret, which is long"
Claims = dict[str, Any]
_MADE = {"RS256": lambda: RSAKey.generate_key(2048), "ES256": lambda: ECKey.generate_key("P-256")}
_MADE["EdDSA"] = lambda: OKPKey.generate_key("Ed25519")


@dataclass
class Issuer:
    """Whoever comes to `authorize` is at once who `person` says; `token` replaces how an id token is made."""

    url: str
    person: Claims = field(default_factory=dict[str, Any])
    alg: str = "RS256"
    key: Key = field(default_factory=_MADE["RS256"])
    token: Callable[[Claims], str] | None = None
    """Of the right claims."""
    says_issuer: str = ""
    """In place of its address, in what it publishes."""
    says_iss: str | None = None
    """Beside the code."""
    published: KeySet | None = None
    thin: bool = False
    """The address is told at userinfo alone."""
    key_requests: int = 0
    codes: dict[str, Claims] = field(default_factory=dict[str, Claims])
    authorized: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    def __post_init__(self) -> None:
        self.use(self.alg)

    def use(self, alg: str) -> None:
        """A new key, and no former one is published any more."""
        self.alg, self.key = alg, _MADE[alg]()
        self.key.ensure_kid()
        self.published = KeySet([self.key])

    def sign(self, claims: Claims, **header: Any) -> str:
        registry = jws.JWSRegistry(algorithms=[self.alg], strict_check_header=False)
        registry.check_header = lambda header: None  # type: ignore[method-assign]
        return jwt.encode({"alg": self.alg, "kid": self.key.kid, **header}, claims, self.key, registry=registry)

    def sign_as_text(self, claims: Claims) -> str:
        """HS256, with the public key as the secret."""
        header = {"alg": "HS256", "kid": self.key.kid}
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
        secret = self.key.as_pem(private=False)
        return f"{signed}.{_encoded(hmac.digest(secret, signed.encode(), 'sha256'))}"

    def unsigned(self, claims: Claims) -> str:
        parts = ({"alg": "none", "kid": self.key.kid}, claims)
        return ".".join(_encoded(json.dumps(part).encode()) for part in parts) + "."

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._discovery),
                Route("/keys", self._keys),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/userinfo", self._userinfo),
            ]
        )

    async def _discovery(self, _: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.says_issuer or self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "userinfo_endpoint": f"{self.url}/userinfo",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    async def _keys(self, _: Request) -> Response:
        self.key_requests += 1
        assert self.published
        return JSONResponse(self.published.as_dict(private=False))

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT_ID)
        self.authorized.append(asked)
        code = secrets.token_urlsafe()
        self.codes[code] = {"asked": asked, "person": dict(self.person)}
        answer = {"code": code, "state": asked["state"]} | ({"iss": self.says_iss} if self.says_iss else {})
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(answer)}", status_code=302)

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        granted = self.codes.pop(form.get("code", ""), None)
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {basic}":
            return JSONResponse({"error": "invalid_client"}, status_code=401)
        if granted is None or not _is_the_same(granted["asked"], form):
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        now, person = int(time.time()), granted["person"]
        told = {name: value for name, value in person.items() if name == "sub" or not self.thin}
        claims = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": granted["asked"]["nonce"]}
        made = (self.token or self.sign)({**claims, **told})
        access_token = secrets.token_urlsafe()
        self.codes[access_token] = person
        return JSONResponse({"access_token": access_token, "token_type": "Bearer", "id_token": made})

    async def _userinfo(self, request: Request) -> Response:
        return JSONResponse(self.codes[request.headers["authorization"].removeprefix("Bearer ")])


def _is_the_same(asked: dict[str, str], form: dict[str, str]) -> bool:
    """The client that asked, by PKCE, and its address."""
    challenge = _encoded(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
    return asked["code_challenge_method"] == "S256" and (asked["code_challenge"], asked["redirect_uri"]) == (
        challenge,
        form.get("redirect_uri"),
    )


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    port = free_port()
    issuer = Issuer(f"http://127.0.0.1:{port}")
    with serving(issuer.app(), port):
        yield issuer
