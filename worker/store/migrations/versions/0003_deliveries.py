"""Results that are to be handed to another system.

Revision: 0003.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_STATEMENTS = """
CREATE TABLE deliveries (
    id uuid CONSTRAINT pk_deliveries PRIMARY KEY,
    tenant text NOT NULL,
    kind text NOT NULL,
    identity text NOT NULL,
    target jsonb NOT NULL,
    job_id uuid CONSTRAINT fk_deliveries_job_id REFERENCES jobs (id) ON DELETE SET NULL,
    state text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    detail text,
    due_at timestamptz NOT NULL DEFAULT now(),
    lease uuid,
    lease_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT ck_deliveries_state CHECK (state IN ('fetching','analysing','delivered','failed'))
);
CREATE UNIQUE INDEX uq_deliveries_open ON deliveries (tenant, kind, identity)
    WHERE state IN ('fetching', 'analysing');
CREATE INDEX ix_deliveries_due ON deliveries (kind, due_at) WHERE state IN ('fetching', 'analysing');
CREATE INDEX ix_deliveries_tenant_kind ON deliveries (tenant, kind, id);
CREATE INDEX ix_deliveries_job_id ON deliveries (job_id) WHERE job_id IS NOT NULL;
"""


def upgrade() -> None:
    for statement in _STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE deliveries")
