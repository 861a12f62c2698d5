"""OpenID Connect by Authlib: what an issuer publishes, the code for a token, and whether that token is good."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from gateway.arrivals import Asserted, Handshake
from gateway.errors import LoginRefusedError
from gateway.issuers import Issuer, is_private
from sluice.errors import ConfigurationError, TransientError

logger = logging.getLogger(__name__)
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_KEPT_SECONDS = 3600
_KEYS_ANEW = 3
"""Times a minute, for tokens whose key is unknown."""
_LEEWAY_SECONDS = 60
_LONGEST_SUBJECT = 255
_Client: Any = AsyncOAuth2Client
_IdToken: Any = CodeIDToken


class OidcIssuer:
    """One issuer. What it publishes is asked for when it is needed, and kept for an hour."""

    def __init__(self, issuer: Issuer, redirect_uri: str) -> None:
        self._issuer = issuer
        self._redirect_uri = redirect_uri
        self._found: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None
        self._fetched_anew: list[float] = []
        self._lock = asyncio.Lock()
        through_proxy = issuer.issuer.startswith("https:")
        self._how: dict[str, Any] = {"timeout": 10, "follow_redirects": False, "trust_env": through_proxy}

    async def authorization_url(self, handshake: Handshake, state: str) -> str:
        """Raises TransientError: the issuer does not answer as one."""
        metadata = await self._metadata()
        async with self._client(metadata) as client:
            url, _ = client.create_authorization_url(
                metadata["authorization_endpoint"],
                state=state,
                nonce=handshake.nonce,
                code_verifier=handshake.code_verifier,
            )
        return str(url)

    async def redeem(self, handshake: Handshake, code: str) -> Asserted:
        """Who the issuer says it is.

        Raises:
            LoginRefusedError: the code, or the token that came for it, is not good.
            TransientError: the issuer does not answer as one.
        """
        metadata = await self._metadata()
        async with self._client(metadata) as client:
            try:
                token = await client.fetch_token(
                    metadata["token_endpoint"],
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=handshake.code_verifier,
                    redirect_uri=self._redirect_uri,
                )
            except OAuthError as error:
                raise self._refused("code") from error
            except (httpx2.HTTPError, ValueError) as error:
                raise self._away() from error
            claims = await self._checked(token, handshake.nonce)
            about = claims if "email" in claims else await self._userinfo(client, metadata, claims)
        return Asserted(
            issuer=self._issuer.issuer,
            subject=claims["sub"],
            email=about["email"] if isinstance(about.get("email"), str) else "",
            email_verified=about.get("email_verified") is True,
        )

    async def _checked(self, token: dict[str, Any], nonce: str) -> dict[str, Any]:
        try:
            signed = await self._verified(str(token.get("id_token", "")))
            if "crit" in signed.header:
                raise self._refused("crit")
            options = {
                "iss": {"essential": True, "value": self._issuer.issuer},
                "aud": {"essential": True, "value": self._issuer.client_id},
                "nonce": {"essential": True, "value": nonce},
            }
            known = {"client_id": self._issuer.client_id, "nonce": nonce, "access_token": token.get("access_token")}
            claims = _IdToken(signed.claims, signed.header, options, known)
            claims.validate(leeway=_LEEWAY_SECONDS)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._refused(getattr(error, "error", "token")) from error
        if not 0 < len(claims["sub"]) <= _LONGEST_SUBJECT or not claims["sub"].isprintable():
            raise self._refused("sub")
        return dict(claims)

    async def _verified(self, id_token: str) -> jwt.Token:
        """With its key fetched anew if it is not known, since issuers change theirs."""
        registry = JWSRegistry(algorithms=_ALGORITHMS, strict_check_header=False)
        keys = await self._key_set()
        try:
            return jwt.decode(id_token, keys, registry=registry)
        except InvalidKeyIdError:
            return jwt.decode(id_token, await self._key_set(instead_of=keys), registry=registry)

    async def _key_set(self, instead_of: KeySet | None = None) -> KeySet:
        async with self._lock:
            now = time.monotonic()
            if self._keys and now - self._keys[0] < _KEPT_SECONDS:
                if self._keys[1] is not instead_of:
                    return self._keys[1]
                self._fetched_anew = [at for at in self._fetched_anew if now - at < _LEEWAY_SECONDS]
                if len(self._fetched_anew) >= _KEYS_ANEW:
                    return self._keys[1]
                self._fetched_anew.append(now)
            found = await self._get((await self._metadata())["jwks_uri"])
            keys = KeySet.import_key_set(found)  # type: ignore[arg-type]
            self._keys = (now, keys)
            return keys

    async def _metadata(self) -> dict[str, Any]:
        now = time.monotonic()
        if self._found and now - self._found[0] < _KEPT_SECONDS:
            return self._found[1]
        metadata = await self._get(f"{self._issuer.issuer.rstrip('/')}/.well-known/openid-configuration")
        if metadata.get("issuer") != self._issuer.issuer:
            logger.error("oidc.another-issuer", extra={"issuer": self._issuer.name})
            raise self._away()
        if not all(is_private(_without_query(str(metadata.get(name)))) for name in _ENDPOINTS):
            logger.error("oidc.bad-endpoint", extra={"issuer": self._issuer.name})
            raise self._away()
        self._found = (now, metadata)
        return metadata

    async def _userinfo(self, client: Any, metadata: dict[str, Any], claims: dict[str, Any]) -> dict[str, Any]:
        """Where a code was used many issuers tell the address here alone. It must be about the same subject."""
        endpoint = str(metadata.get("userinfo_endpoint", ""))
        if not is_private(_without_query(endpoint)):
            return {}
        try:
            answer = await client.get(endpoint)
            answer.raise_for_status()
            about = answer.json()
        except (OAuthError, httpx2.HTTPError, ValueError) as error:
            raise self._away() from error
        if not isinstance(about, dict) or about.get("sub") != claims["sub"]:  # pyright: ignore[reportUnknownMemberType]
            raise self._refused("userinfo")
        return about  # pyright: ignore[reportUnknownVariableType]

    async def _get(self, url: str) -> dict[str, Any]:
        try:
            async with httpx2.AsyncClient(**self._how) as client:
                answer = await client.get(url)
            answer.raise_for_status()
            found = answer.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise self._away() from error
        if not isinstance(found, dict):
            raise self._away()
        return found  # pyright: ignore[reportUnknownVariableType]

    @asynccontextmanager
    async def _client(self, metadata: dict[str, Any]) -> AsyncGenerator[Any]:
        try:
            secret = self._issuer.secret()
        except OSError as error:
            raise ConfigurationError(f"the client secret of {self._issuer.name} cannot be read") from error
        methods = metadata.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        basic = "client_secret_basic" if "client_secret_basic" in methods else "client_secret_post"
        async with _Client(
            client_id=self._issuer.client_id,
            client_secret=secret,
            token_endpoint_auth_method=basic if secret else "none",
            redirect_uri=self._redirect_uri,
            scope="openid email",
            code_challenge_method="S256",
            **self._how,
        ) as client:
            yield client

    def _refused(self, reason: str) -> LoginRefusedError:
        """The reason is a word of ours or of the library's, and nothing of the token."""
        logger.warning("oidc.refused", extra={"issuer": self._issuer.name, "reason": reason})
        return LoginRefusedError(f"what {self._issuer.shown_as} answered is not good: sign in again")

    def _away(self) -> TransientError:
        return TransientError(f"{self._issuer.shown_as} does not answer as it should right now; try again")


def _without_query(address: str) -> str:
    return address.partition("?")[0]
