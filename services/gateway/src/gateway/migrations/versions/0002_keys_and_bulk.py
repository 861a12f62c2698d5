"""API keys, idempotency keys, and jobs in bulk"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
_PARTIAL = [
    (
        "ix_jobs_waiting",
        "jobs",
        ["waiting_lane", "tenant_id", "created_at", "id"],
        "(waiting_lane IS NOT NULL AND published_at IS NULL AND state = 'queued') IS TRUE",
    ),
    ("ix_jobs_open", "jobs", ["tenant_id"], "state NOT IN ('done', 'deleted', 'failed')"),
    ("ix_fixes_open", "fixes", ["tenant_id"], "state IN ('pending', 'withdrawing')"),
    ("ix_turns_open", "turns", ["created_at"], "answer IS NULL AND error IS NULL"),
]


def upgrade() -> None:
    op.add_column("jobs", sa.Column("bulk", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("jobs", sa.Column("waiting_lane", sa.String(length=16), nullable=True))
    op.add_column("jobs", sa.Column("tenant_id", sa.String(length=64), server_default="", nullable=False))
    op.execute("UPDATE jobs SET tenant_id = (SELECT tenant_id FROM documents WHERE documents.id = jobs.document_id)")
    op.add_column("jobs", sa.Column("traceparent", sa.String(length=64), nullable=True))
    for table in ("jobs", "fixes", "turns"):
        op.add_column(table, sa.Column("run", sa.Integer(), server_default="1", nullable=False))
    op.add_column("turns", sa.Column("published_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f("ix_jobs_state_published_at"), "jobs", ["state", "published_at"], unique=False)
    for name, table, columns, condition in _PARTIAL:
        where = sa.text(condition)
        op.create_index(name, table, columns, unique=False, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "idempotency_keys",
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("body_sha256", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=True),
        sa.Column("refused", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_idempotency_keys_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("owner", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(op.f("ix_idempotency_keys_tenant_id"), "idempotency_keys", ["tenant_id"], unique=False)
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("sealed_digest", sa.Text(), nullable=False),
        sa.Column("rights", sa.JSON(), nullable=False),
        sa.Column("clearance", sa.String(length=16), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_api_keys_tenant_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )
    op.create_index(op.f("ix_api_keys_tenant_id"), "api_keys", ["tenant_id"], unique=False)


def downgrade() -> None:
    op.drop_table("api_keys")
    op.drop_table("idempotency_keys")
    for name, table, _, _ in _PARTIAL:
        op.drop_index(name, table)
    op.drop_index(op.f("ix_jobs_state_published_at"), "jobs")
    op.drop_column("turns", "published_at")
    for table in ("jobs", "fixes", "turns"):
        op.drop_column(table, "run")
    op.drop_column("jobs", "traceparent")
    op.drop_column("jobs", "tenant_id")
    op.drop_column("jobs", "waiting_lane")
    op.drop_column("jobs", "bulk")
