"""Which reading decided a job's Action Units: thresholds and events are those of that reading.

Revision: 0005.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE jobs ADD COLUMN reading text")


def downgrade() -> None:
    op.execute("ALTER TABLE jobs DROP COLUMN reading")
