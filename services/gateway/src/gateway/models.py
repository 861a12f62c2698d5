"""The SQL tables. Times are aware and kept in UTC; ids are opaque text made by the gateway."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.engine import Dialect


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time. SQLite forgets the zone, so it goes in as UTC and comes out as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class CleanText(TypeDecorator[str]):
    """Text from a parser or a model; PostgreSQL takes no NUL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value.replace("\0", "")


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> Column[str]:
    return Column("id", String(64), primary_key=True)


def _refers(name: str, target: str, *, primary_key: bool = False) -> Column[str]:
    return Column(
        name,
        String(64),
        ForeignKey(f"{target}.id", ondelete="CASCADE"),
        primary_key=primary_key,
        nullable=False,
        index=not primary_key,
    )


def _time(name: str, *, nullable: bool = False) -> Column[datetime]:
    return Column(name, UtcDateTime, nullable=nullable)


def _run() -> Column[int]:
    """How often it was begun; the message's id is made from it."""
    return Column("run", Integer, nullable=False, server_default="1")


tenants = Table(
    "tenants",
    metadata,
    _id(),
    Column("slug", String(64), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("internal_domains", JSON, nullable=False),
    Column("sign_up", String(16), nullable=False, server_default="closed"),
    _time("created_at"),
    _time("suspended_at", nullable=True),
)

people = Table(
    "people",
    metadata,
    _id(),
    _refers("tenant_id", "tenants"),
    Column("email", String(320), nullable=False, index=True),
    Column("email_verified", Boolean, nullable=False),
    Column("password_hash", String(256), nullable=False),
    Column("password_one_time", Boolean, nullable=False),
    Column("rights", JSON, nullable=False),
    _time("created_at"),
    _time("suspended_at", nullable=True),
    UniqueConstraint("tenant_id", "email"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_sha256", String(64), primary_key=True),
    _refers("person_id", "people"),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

login_attempts = Table(
    "login_attempts",
    metadata,
    Column("address_sha256", String(64), primary_key=True),
    Column("attempts", Integer, nullable=False),
    _time("window_ends"),
)

# People by whom issuers say that they are, in each tenant.
identities = Table(
    "identities",
    metadata,
    _refers("tenant_id", "tenants", primary_key=True),
    Column("issuer", String(300), primary_key=True),
    Column("subject", String(255), primary_key=True),
    _refers("person_id", "people"),
    _time("created_at"),
    UniqueConstraint("person_id", "issuer"),
)

handshakes = Table(
    "handshakes",
    metadata,
    Column("state_sha256", String(64), primary_key=True),
    Column("issuer", String(64), nullable=False),
    Column("tenant_id", String(64)),
    Column("link_sha256", String(64)),
    Column("nonce", String(64), nullable=False),
    Column("code_verifier", String(128), nullable=False),
    Column("binding_sha256", String(64), nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

links = Table(
    "links",
    metadata,
    Column("token_sha256", String(64), primary_key=True),
    Column("purpose", String(16), nullable=False),
    _refers("tenant_id", "tenants"),
    Column("person_id", String(64), ForeignKey("people.id", ondelete="CASCADE"), index=True),
    Column("email", String(320), nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

documents = Table(
    "documents",
    metadata,
    _id(),
    _refers("tenant_id", "tenants"),
    Column("access_level", String(16), nullable=False),
    Column("name", Text, nullable=False),
    Column("title", CleanText, nullable=False),
    Column("url", Text),
    Column("sha256", String(64)),
    Column("generation", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("chunk_count", Integer, nullable=False),
    Column("created_by", String(64), nullable=False),
    _time("created_at"),
    _time("updated_at"),
    Column("size", BigInteger, nullable=False, server_default="0"),
    Index(None, "tenant_id", "state", "size"),
)
# One that is being deleted does not stand in the way of the next upload under its name.
Index(
    "uq_documents_name",
    documents.c.tenant_id,
    documents.c.access_level,
    documents.c.name,
    unique=True,
    sqlite_where=text("state != 'deleting'"),
    postgresql_where=text("state != 'deleting'"),
)

jobs = Table(
    "jobs",
    metadata,
    _id(),
    _refers("document_id", "documents"),
    Column("tenant_id", String(64), nullable=False, server_default=""),
    Column("generation", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("attempt", Integer, nullable=False),
    Column("done", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("error", CleanText),
    Column("unchanged", Boolean, nullable=False),
    Column("bulk", Boolean, nullable=False, server_default=false()),
    _run(),
    Column("waiting_lane", String(16)),
    Column("access_level", String(16)),
    Column("traceparent", String(64)),
    Column("created_by", String(64), nullable=False),
    _time("created_at"),
    _time("updated_at"),
    _time("published_at", nullable=True),
    _time("offered_at", nullable=True),
    Index(None, "state", "published_at"),
)
# A hundred thousand waiting rows are never read to find one: a database takes these for queries that say the same.
# As one expression, of which no other index knows a part: PostgreSQL without statistics took the wrong one.
WAITING = text("(waiting_lane IS NOT NULL AND published_at IS NULL AND state = 'queued') IS TRUE")
Index(
    "ix_jobs_waiting",
    jobs.c.waiting_lane,
    jobs.c.tenant_id,
    jobs.c.created_at,
    jobs.c.id,
    sqlite_where=WAITING,
    postgresql_where=WAITING,
)
MOVE = text("kind = 'relevel'")
Index("ix_jobs_moves", jobs.c.state, sqlite_where=MOVE, postgresql_where=MOVE)
OPEN_JOB = text("state NOT IN ('done', 'deleted', 'failed')")
Index("ix_jobs_open", jobs.c.tenant_id, sqlite_where=OPEN_JOB, postgresql_where=OPEN_JOB)

conversations = Table(
    "conversations",
    metadata,
    _id(),
    _refers("person_id", "people"),
    Column("title", Text, nullable=False),
    Column("title_level", String(16), nullable=False, server_default="INTERNAL"),
    _time("created_at"),
    _time("updated_at"),
)

turns = Table(
    "turns",
    metadata,
    _id(),
    _refers("conversation_id", "conversations"),
    Column("lane", String(16), nullable=False),
    Column("question", Text, nullable=False),
    Column("answer", CleanText),
    Column("level", String(16), nullable=False),
    Column("tier", String(100)),
    Column("finish_reason", String(32)),
    Column("sources", JSON, nullable=False),
    Column("citations", JSON, nullable=False),
    Column("usage", JSON, nullable=False),
    _run(),
    _time("created_at"),
    _time("answered_at", nullable=True),
    _time("published_at", nullable=True),
    Column("error", CleanText),
    Column("inherited", JSON, nullable=False, server_default="[]"),
)

OPEN_TURN = text("answer IS NULL AND error IS NULL")
Index("ix_turns_open", turns.c.created_at, sqlite_where=OPEN_TURN, postgresql_where=OPEN_TURN)

feedback = Table(
    "feedback",
    metadata,
    _refers("turn_id", "turns", primary_key=True),
    Column("verdict", String(8), nullable=False),
    Column("reason", String(100)),
    Column("comment", Text),
    _time("created_at"),
)

fixes = Table(
    "fixes",
    metadata,
    _id(),
    _refers("tenant_id", "tenants"),
    Column("question", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("access_level", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("error", CleanText),
    Column("sources", JSON, nullable=False, server_default="[]"),
    Column("declassified", Boolean, nullable=False, server_default=false()),
    _run(),
    Column("created_by", String(64), nullable=False),
    _time("created_at"),
    _time("updated_at"),
    _time("published_at", nullable=True),
)

OPEN_FIX = text("state IN ('pending', 'withdrawing')")
Index("ix_fixes_open", fixes.c.tenant_id, sqlite_where=OPEN_FIX, postgresql_where=OPEN_FIX)

# What someone asked for under a key of their choice; the ids of all that came of it are made from owner and key.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("owner", String(64), primary_key=True),
    Column("key", String(200), primary_key=True),
    _refers("tenant_id", "tenants"),
    Column("body_sha256", String(64), nullable=False),
    Column("job_id", String(64)),
    Column("refused", CleanText),
    Column("created_at", UtcDateTime, nullable=False, index=True),
)

api_keys = Table(
    "api_keys",
    metadata,
    _id(),
    _refers("tenant_id", "tenants"),
    Column("name", String(200), nullable=False),
    Column("sealed_digest", Text, nullable=False),
    Column("rights", JSON, nullable=False),
    Column("clearance", String(16), nullable=False),
    Column("created_by", String(64), nullable=False),
    _time("created_at"),
    _time("expires_at", nullable=True),
    _time("revoked_at", nullable=True),
    Column("sealed_previous", Text),
    _time("previous_until", nullable=True),
    _time("last_used_at", nullable=True),
)

# Rows are only ever added; no foreign keys, so that nothing that is deleted takes its trace along.
audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("chain", String(64), nullable=False),
    Column("sequence", Integer, nullable=False),
    _time("at"),
    Column("tenant_id", String(64)),
    Column("actor", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", String(300), nullable=False),
    Column("detail", JSON, nullable=False),
    Column("once", String(64)),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    UniqueConstraint("chain", "sequence"),
    UniqueConstraint("chain", "once"),
    Index(None, "chain", "action", "sequence"),
    Index(None, "chain", "actor", "sequence"),
    Index(None, "chain", "target", "sequence"),
)

# Where each chain ends: locked by whoever adds to it.
audit_heads = Table(
    "audit_heads",
    metadata,
    Column("chain", String(64), primary_key=True),
    Column("sequence", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("signature", String(200), nullable=False),
)

# By whom and when a passage was retrieved. It only finds the records, which are what counts.
audit_passages = Table(
    "audit_passages",
    metadata,
    Column("chain", String(64), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("passage_id", String(64), primary_key=True),
    Column("document_id", String(64), nullable=False),
    Column("person_id", String(64), nullable=False),
    Index(None, "chain", "passage_id", "sequence"),
    Index(None, "chain", "document_id", "sequence"),
)
