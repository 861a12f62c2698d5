"""The gateway, put together. Nothing here runs before the app is started."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from fastapi import FastAPI

from gateway import problems
from gateway.adapters.index_tasks import RedisIndexTasks
from gateway.adapters.redis_counts import RedisCounts
from gateway.adapters.selftest_process import SelftestProcess
from gateway.adapters.sql_accounts import SqlAccounts
from gateway.adapters.sql_audit import SqlAuditLog
from gateway.adapters.sql_backlog import SqlBacklog
from gateway.adapters.sql_catalog import SqlCatalog
from gateway.adapters.sql_conversations import SqlConversations
from gateway.adapters.sql_fixes import SqlFixes
from gateway.adapters.sql_idempotency import SqlIdempotencyKeys
from gateway.adapters.sql_keys import SqlApiKeys
from gateway.adapters.sql_moves import SqlMoves
from gateway.adapters.sql_offers import SqlOfferFates
from gateway.adapters.sql_sources import SqlSources
from gateway.adapters.streams import (
    BrokerDeadLetters,
    BrokerDepths,
    BrokerGate,
    BrokerNews,
    BrokerPlaces,
    BrokerPublisher,
    BrokerReplies,
)
from gateway.ask import Ask
from gateway.begin_again import BeginAgain
from gateway.database import Database
from gateway.disclose import Disclose
from gateway.dispatch import Dispatch
from gateway.explain_access import ExplainAccess
from gateway.handlers import Handlers
from gateway.idempotency import Idempotency
from gateway.indexes import Indexes
from gateway.keys import Keys
from gateway.limits import Limits
from gateway.listen import Listen
from gateway.login import LoginRules
from gateway.lost import FindLost
from gateway.metrics import QueueMetrics
from gateway.middleware import BodyLimit, RequestContext
from gateway.offers import OfferRules, TakeOffer
from gateway.people import People
from gateway.ports import Blobs, Passwords
from gateway.presence import Presence, StillReadable
from gateway.principals import KnownPrincipals
from gateway.rates import Rates
from gateway.reconcile import Reconcile
from gateway.relevel import Relevel
from gateway.replay import Replay
from gateway.resend import Resend
from gateway.routes import (
    chat,
    conversations,
    dead_letters,
    documentation,
    fixes,
    identity,
    indexes,
    keys,
    knowledge,
    logs,
    offers,
    oidc,
    one_time_links,
    operators,
    selftest,
    system,
    trail,
    uploads,
)
from gateway.routes.streaming import stopping
from gateway.search_logs import SearchLogs
from gateway.selftest import Selftest
from gateway.services import Services
from gateway.settings import GatewaySettings
from gateway.submit import Submit
from gateway.teach import Teach
from gateway.tenants import FirstAdmin, ensure_first_admin
from gateway.trail import Trail
from gateway.waiting import Explain
from gateway.ways_in import ways_in
from sluice.access import PassportSigner, PassportVerifier
from sluice.broker import Broker
from sluice.connection import end
from sluice.sealing import Keyring

logger = logging.getLogger(__name__)
_DISPATCH_PAUSE = timedelta(seconds=1)
_SIGN_PAUSE = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Adapters:
    """What the gateway stands on."""

    database: Database
    broker: Broker
    blobs: Blobs
    keyring: Keyring
    passwords: Passwords
    signer: PassportSigner
    verifier: PassportVerifier
    operator_token: str


def create_app(settings: GatewaySettings, *, adapters: Adapters) -> FastAPI:
    """The ASGI app; its lifespan migrates, makes the first admin, consumes and reconciles."""
    services = _services(settings, adapters)
    app = FastAPI(
        title="Sluice",
        description="Answers from a company's own documents, and only from those that the asker may read.",
        version="1.0.0",
        lifespan=_lifespan(settings, adapters, services),
        redirect_slashes=False,  # a redirect would be built from the Host header
        docs_url=None,
        redoc_url=None,
    )
    app.state.services = services
    app.state.broker = adapters.broker
    problems.install(app)
    documentation.install(app)
    app.add_middleware(BodyLimit, least=settings.max_body_bytes, larger={uploads.PATH: settings.max_upload_bytes})
    app.add_middleware(RequestContext, tracing=adapters.broker.tracing)
    for part in (identity, operators, dead_letters, indexes, keys, chat, conversations, knowledge, offers, fixes, logs):
        app.include_router(part.router)
    app.include_router(oidc.router)
    app.include_router(one_time_links.router)
    app.include_router(selftest.router)
    app.include_router(trail.chains)
    app.include_router(trail.router)
    app.include_router(uploads.create_router(settings))
    metrics = QueueMetrics(BrokerDepths(adapters.broker))
    app.include_router(system.create_router([adapters.database.ping, adapters.broker.check], metrics.exposition))
    return app


def _services(settings: GatewaySettings, adapters: Adapters) -> Services:
    accounts, audit = SqlAccounts(adapters.database), _audit_log(adapters)
    api_keys = SqlApiKeys(adapters.database)
    conversations_, catalog = (
        SqlConversations(adapters.database, adapters.keyring),
        SqlCatalog(adapters.database, settings.tenant_storage_bytes),
    )
    passwords, fixes_ = adapters.passwords, SqlFixes(adapters.database, adapters.keyring)
    publisher, signer = BrokerPublisher(adapters.broker), adapters.signer
    replies = BrokerReplies(adapters.broker.replies)
    backlog, gate = SqlBacklog(adapters.database), BrokerGate(adapters.broker)
    principals = KnownPrincipals(accounts=accounts, keys=api_keys)
    question_deadline = timedelta(seconds=settings.question_deadline_seconds)
    job_deadline = timedelta(seconds=settings.job_deadline_seconds)
    sources = SqlSources(adapters.database)
    people = People(accounts=accounts, passwords=passwords, audit=audit)
    submit = Submit(
        catalog=catalog,
        blobs=adapters.blobs,
        publisher=publisher,
        audit=audit,
        signer=signer,
        deadline=job_deadline,
    )
    teach = Teach(fixes=fixes_, sources=sources, publisher=publisher, audit=audit, signer=signer, deadline=job_deadline)
    ask = Ask(
        conversations=conversations_,
        publisher=publisher,
        replies=replies,
        signer=signer,
        disclose=Disclose(sources=sources),
        deadline=question_deadline,
        history_turns=settings.history_turns,
    )
    relevel = Relevel(
        submit=submit,
        catalog=catalog,
        moves=SqlMoves(adapters.database),
        places=BrokerPlaces(adapters.broker),
        accounts=accounts,
        principals=principals,
        audit=audit,
        teach=teach,
    )
    resend = Resend(
        accounts=accounts,
        principals=principals,
        catalog=catalog,
        fixes=fixes_,
        conversations=conversations_,
        blobs=adapters.blobs,
        replies=replies,
        submit=submit,
        relevel=relevel,
        teach=teach,
        ask=ask,
    )
    return Services(
        settings=settings,
        operator_token=adapters.operator_token,
        accounts=accounts,
        presence=Presence(accounts),
        still_readable=StillReadable(conversations_, ask.disclose),
        api_keys=api_keys,
        first_keys=adapters.keyring,
        keys=Keys(keys=api_keys, keyring=adapters.keyring, audit=audit),
        fates=SqlOfferFates(adapters.database),
        principals=principals,
        audit=audit,
        trail=Trail(accounts=accounts, trail=audit, audit=audit),
        explain_access=ExplainAccess(accounts=accounts, catalog=catalog, fixes=fixes_, trail=audit),
        idempotency=Idempotency(keys=SqlIdempotencyKeys(adapters.database)),
        limits=Limits.of(settings, gate, backlog),
        rates=Rates(RedisCounts(adapters.broker), settings),
        passwords=passwords,
        login_rules=LoginRules(
            session=timedelta(hours=settings.session_hours),
            attempts=settings.login_attempts,
            window=timedelta(seconds=settings.login_window_seconds),
            lock_attempts=settings.login_lock_attempts,
            lock_window=timedelta(seconds=settings.login_lock_seconds),
        ),
        ways_in=ways_in(settings, adapters.database, people),
        people=people,
        conversations=conversations_,
        ask=ask,
        listen=Listen(
            replies,
            conversations_,
            deadline=question_deadline,
            grace=timedelta(seconds=settings.resume_grace_seconds),
            stopping=stopping,
        ),
        catalog=catalog,
        submit=submit,
        relevel=relevel,
        dispatch=Dispatch(
            waiting=backlog,
            gate=gate,
            catalog=catalog,
            principals=principals,
            submit=submit,
            window=settings.bulk_window,
        ),
        fixes=fixes_,
        teach=teach,
        search_logs=SearchLogs(
            publisher=publisher,
            replies=BrokerReplies(adapters.broker.plain_replies),
            audit=audit,
            signer=signer,
            deadline=timedelta(seconds=settings.log_deadline_seconds),
        ),
        selftest=Selftest(SelftestProcess(settings.selftest_command, settings.selftest_child_environment), audit),
        resend=resend,
        replay=Replay(
            letters=BrokerDeadLetters(adapters.broker),
            again=BeginAgain(resend=resend),
            audit=audit,
            wire=adapters.broker.wire,
        ),
        indexes=Indexes(
            accounts=accounts,
            tasks=RedisIndexTasks(adapters.broker),
            publisher=publisher,
            audit=audit,
            signer=signer,
            deadline=job_deadline,
        ),
        explain=Explain(
            places=BrokerPlaces(adapters.broker),
            waiting=backlog,
            sent_within=timedelta(seconds=settings.reconcile_seconds + settings.reconcile_after_seconds),
        ),
    )


def _audit_log(adapters: Adapters) -> SqlAuditLog:
    return SqlAuditLog(adapters.database, adapters.signer, adapters.verifier)


def _lifespan(settings: GatewaySettings, adapters: Adapters, services: Services):
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        await adapters.database.migrate()
        await ensure_first_admin(
            services.accounts, services.passwords, services.audit, services.first_keys, _first_admin(settings)
        )
        replies = BrokerReplies(adapters.broker.replies)
        Handlers(
            conversations=services.conversations,
            catalog=services.catalog,
            fixes=services.fixes,
            replies=replies,
            take_offer=_take_offer(settings, services),
            job_ended=services.dispatch.wake,
            indexes=services.indexes,
            accounts=services.accounts,
            audit=services.audit,
        ).register(adapters.broker)
        await adapters.broker.start()
        pause = timedelta(seconds=settings.reconcile_seconds)
        reconciler = asyncio.create_task(_reconcile(settings, adapters, services).forever(pause, adapters.broker.lost))
        dispatcher = asyncio.create_task(services.dispatch.forever(_DISPATCH_PAUSE))
        relevelling = asyncio.create_task(services.relevel.forever(_DISPATCH_PAUSE))
        signing = asyncio.create_task(services.trail.keep_signed(_SIGN_PAUSE))
        logger.info("service.started")
        yield
        await end(signing, reconciler, dispatcher, relevelling)
        await services.ways_in.close()
        await services.selftest.close()
        await services.listen.close()
        await adapters.broker.stop()
        await adapters.database.close()
        logger.info("service.stopped")

    return lifespan


def _take_offer(settings: GatewaySettings, services: Services) -> TakeOffer:
    window = timedelta(seconds=settings.offer_window_seconds)
    return TakeOffer(
        keys=services.keys,
        fates=services.fates,
        idempotency=services.idempotency,
        limits=services.limits,
        submit=services.submit,
        dispatch=services.dispatch,
        rules=OfferRules(
            entry_bytes=settings.max_offer_bytes,
            document_bytes=settings.max_file_bytes,
            window=window,
            lifetime=timedelta(days=settings.idempotency_days) - window,
        ),
    )


def _reconcile(settings: GatewaySettings, adapters: Adapters, services: Services) -> Reconcile:
    return Reconcile(
        resend=services.resend,
        find_lost=FindLost(
            places=BrokerPlaces(adapters.broker),
            news=BrokerNews(adapters.broker),
            resend=services.resend,
            after=timedelta(seconds=settings.lost_after_seconds),
        ),
        keys=services.idempotency.keys,
        after=timedelta(seconds=settings.reconcile_after_seconds),
        keep_keys=timedelta(days=settings.idempotency_days),
    )


def _first_admin(settings: GatewaySettings) -> FirstAdmin:
    password = settings.admin_password
    return FirstAdmin(
        email=settings.admin_email,
        password=password.get_secret_value() if password else None,
        password_file=settings.first_password_path,
    )
