"""How people come in, beside their passwords: put together here."""

from dataclasses import dataclass
from datetime import timedelta

from gateway.adapters.oidc import OidcIssuer
from gateway.adapters.smtp import SmtpPost
from gateway.adapters.sql_identities import SqlIdentities
from gateway.adapters.sql_links import SqlLinks
from gateway.database import Database
from gateway.one_time_links import OneTimeLinks
from gateway.people import People
from gateway.settings import GatewaySettings
from gateway.sign_in_at_issuer import SignInAtIssuer


@dataclass(frozen=True, kw_only=True)
class WaysIn:
    at_issuer: SignInAtIssuer
    links: OneTimeLinks

    @property
    def mails(self) -> bool:
        return self.links.post is not None

    async def close(self) -> None:
        if self.links.post is not None:
            await self.links.post.close()


def ways_in(settings: GatewaySettings, database: Database, people: People) -> WaysIn:
    page, links = settings.public_url, SqlLinks(database)
    accounts, audit, session = people.accounts, people.audit, timedelta(hours=settings.session_hours)
    issuers = {issuer.name: issuer for issuer in settings.oidc_issuers}
    return WaysIn(
        at_issuer=SignInAtIssuer(
            issuers=issuers,
            providers={name: OidcIssuer(issuer, f"{page}/login/oidc/{name}") for name, issuer in issuers.items()},
            accounts=accounts,
            identities=SqlIdentities(database),
            links=links,
            audit=audit,
            session=session,
        ),
        links=OneTimeLinks(
            people=people,
            accounts=accounts,
            links=links,
            passwords=people.passwords,
            audit=audit,
            post=SmtpPost(settings.smtp_server) if settings.smtp_server else None,
            page=page,
            session=session,
        ),
    )
