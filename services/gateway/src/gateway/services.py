"""What the routes are given: the use cases, put together once."""

from dataclasses import dataclass

from gateway.ask import Ask
from gateway.dispatch import Dispatch
from gateway.explain_access import ExplainAccess
from gateway.idempotency import Idempotency
from gateway.indexes import Indexes
from gateway.keys import Keys
from gateway.limits import Limits
from gateway.listen import Listen
from gateway.login import LoginRules
from gateway.people import People
from gateway.ports import (
    Accounts,
    ApiKeys,
    AuditLog,
    Catalog,
    Conversations,
    FirstKeys,
    Fixes,
    OfferFates,
    Passwords,
    Principals,
)
from gateway.presence import Presence, StillReadable
from gateway.rates import Rates
from gateway.relevel import Relevel
from gateway.replay import Replay
from gateway.resend import Resend
from gateway.search_logs import SearchLogs
from gateway.selftest import Selftest
from gateway.settings import GatewaySettings
from gateway.submit import Submit
from gateway.teach import Teach
from gateway.trail import Trail
from gateway.waiting import Explain
from gateway.ways_in import WaysIn


@dataclass(frozen=True, kw_only=True)
class Services:
    settings: GatewaySettings
    operator_token: str
    accounts: Accounts
    presence: Presence
    still_readable: StillReadable
    api_keys: ApiKeys
    keys: Keys
    first_keys: FirstKeys
    fates: OfferFates
    principals: Principals
    audit: AuditLog
    trail: Trail
    explain_access: ExplainAccess
    idempotency: Idempotency
    limits: Limits
    rates: Rates
    passwords: Passwords
    login_rules: LoginRules
    ways_in: WaysIn
    people: People
    conversations: Conversations
    ask: Ask
    listen: Listen
    catalog: Catalog
    submit: Submit
    relevel: Relevel
    dispatch: Dispatch
    fixes: Fixes
    teach: Teach
    search_logs: SearchLogs
    selftest: Selftest
    resend: Resend
    replay: Replay
    explain: Explain
    indexes: Indexes
