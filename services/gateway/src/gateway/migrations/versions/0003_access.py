"""Chains of audit records"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _audit_chains()
    _levels_that_change()


def _levels_that_change() -> None:
    title_level = sa.Column("title_level", sa.String(length=16), server_default="INTERNAL", nullable=False)
    op.add_column("conversations", title_level)
    op.add_column("turns", sa.Column("inherited", sa.JSON(), server_default="[]", nullable=False))
    op.add_column("jobs", sa.Column("access_level", sa.String(length=16), nullable=True))
    moves = sa.text("kind = 'relevel'")
    op.create_index("ix_jobs_moves", "jobs", ["state"], unique=False, sqlite_where=moves, postgresql_where=moves)


def _audit_chains() -> None:
    """The records before this are in no chain: they are dropped."""
    op.drop_index("ix_audit_tenant_id", "audit")
    op.drop_table("audit")
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("chain", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=True),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=300), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("once", sa.String(length=64), nullable=True),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sa.UniqueConstraint("chain", "sequence", name=op.f("uq_audit_chain_sequence")),
        sa.UniqueConstraint("chain", "once", name=op.f("uq_audit_chain_once")),
    )
    for column in ("action", "actor", "target"):
        op.create_index(op.f(f"ix_audit_chain_{column}_sequence"), "audit", ["chain", column, "sequence"])
    op.create_table(
        "audit_heads",
        sa.Column("chain", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("chain", name=op.f("pk_audit_heads")),
    )
    op.create_table(
        "audit_passages",
        sa.Column("chain", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("passage_id", sa.String(length=64), nullable=False),
        sa.Column("document_id", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("chain", "sequence", "passage_id", name=op.f("pk_audit_passages")),
    )
    for column in ("passage_id", "document_id"):
        name = op.f(f"ix_audit_passages_chain_{column}_sequence")
        op.create_index(name, "audit_passages", ["chain", column, "sequence"])


def downgrade() -> None:
    for table in ("audit_passages", "audit_heads", "audit"):
        op.drop_table(table)
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=True),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_tenant_id"), "audit", ["tenant_id"], unique=False)
