"""How people come in, beside their passwords: put together here."""

from dataclasses import dataclass
from datetime import timedelta

from gateway.adapters.oidc import OidcIssuer
from gateway.adapters.sql_identities import SqlIdentities
from gateway.adapters.sql_links import SqlLinks
from gateway.database import Database
from gateway.ports import Accounts, AuditLog
from gateway.settings import GatewaySettings
from gateway.sign_in_at_issuer import SignInAtIssuer


@dataclass(frozen=True, kw_only=True)
class WaysIn:
    at_issuer: SignInAtIssuer


def ways_in(settings: GatewaySettings, database: Database, accounts: Accounts, audit: AuditLog) -> WaysIn:
    page, links = settings.public_url.rstrip("/"), SqlLinks(database)
    issuers = {issuer.name: issuer for issuer in settings.oidc_issuers}
    return WaysIn(
        at_issuer=SignInAtIssuer(
            issuers=issuers,
            providers={name: OidcIssuer(issuer, f"{page}/login/oidc/{name}") for name, issuer in issuers.items()},
            accounts=accounts,
            identities=SqlIdentities(database),
            links=links,
            audit=audit,
            session=timedelta(hours=settings.session_hours),
        )
    )
