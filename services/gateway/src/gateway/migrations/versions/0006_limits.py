"""Rotated keys, their last use, and what documents weigh"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("sealed_previous", sa.Text(), nullable=True))
    op.add_column("api_keys", sa.Column("previous_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("api_keys", sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("documents", sa.Column("size", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index("ix_documents_tenant_id_state_size", "documents", ["tenant_id", "state", "size"])


def downgrade() -> None:
    op.drop_index("ix_documents_tenant_id_state_size", "documents")
    op.drop_column("documents", "size")
    op.drop_column("api_keys", "last_used_at")
    op.drop_column("api_keys", "previous_until")
    op.drop_column("api_keys", "sealed_previous")
