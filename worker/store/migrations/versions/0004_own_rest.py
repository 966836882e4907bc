"""Measures of brows and lids, and a track's own rest, against which a clip's Action Units are decided.

Revision: 0004.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE face_frames ADD COLUMN measures real[]")
    op.execute("ALTER TABLE tracks ADD COLUMN rest real[]")


def downgrade() -> None:
    op.execute("ALTER TABLE tracks DROP COLUMN rest")
    op.execute("ALTER TABLE face_frames DROP COLUMN measures")
