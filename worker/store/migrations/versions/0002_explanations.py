"""What happened inside the network for single faces.

Revision: 0002, after 0001.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE explanations (
            job_id uuid NOT NULL CONSTRAINT fk_explanations_job_id REFERENCES jobs (id) ON DELETE CASCADE,
            frame integer NOT NULL,
            face smallint NOT NULL,
            crop bytea NOT NULL,
            arrays bytea,
            error jsonb,
            attempts smallint NOT NULL DEFAULT 0,
            lease_until timestamptz,
            deadline timestamptz NOT NULL,
            requested_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_explanations PRIMARY KEY (job_id, frame, face)
        )
    """)
    op.execute("ALTER TABLE explanations ALTER COLUMN arrays SET STORAGE EXTERNAL")
    op.execute(
        "CREATE INDEX ix_explanations_queue ON explanations (requested_at) WHERE arrays IS NULL AND error IS NULL"
    )
    op.execute("CREATE INDEX ix_explanations_requested_at ON explanations (requested_at)")


def downgrade() -> None:
    op.execute("DROP TABLE explanations")
