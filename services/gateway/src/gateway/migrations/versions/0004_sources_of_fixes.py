"""Sources of fixes"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What was taught before names no sources: it stays at its level."""
    op.add_column("fixes", sa.Column("sources", sa.JSON(), server_default="[]", nullable=False))
    op.add_column("fixes", sa.Column("declassified", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column("fixes", "declassified")
    op.drop_column("fixes", "sources")
