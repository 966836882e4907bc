"""The first schema.

Revision: 0001.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_STATEMENTS = """
CREATE TABLE api_keys (
    id uuid CONSTRAINT pk_api_keys PRIMARY KEY,
    tenant text NOT NULL,
    name text NOT NULL,
    key_sha256 bytea NOT NULL CONSTRAINT uq_api_keys_key_sha256 UNIQUE,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);

CREATE TABLE media (
    id uuid CONSTRAINT pk_media PRIMARY KEY,
    tenant text NOT NULL,
    sha256 text NOT NULL,
    kind text NOT NULL,
    mime text NOT NULL,
    name text,
    bytes bigint NOT NULL,
    width integer,
    height integer,
    fps double precision,
    duration_ms double precision,
    frames bigint,
    uri text NOT NULL CONSTRAINT uq_media_uri UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz
);
CREATE INDEX ix_media_tenant_created_at ON media (tenant, created_at);

CREATE TABLE checkpoints (
    id uuid CONSTRAINT pk_checkpoints PRIMARY KEY,
    name text NOT NULL,
    version text NOT NULL,
    sha256 text NOT NULL,
    au_codes text[] NOT NULL,
    manifest jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT uq_checkpoints_name_version UNIQUE (name, version)
);

CREATE TABLE jobs (
    id uuid CONSTRAINT pk_jobs PRIMARY KEY,
    tenant text NOT NULL,
    kind text NOT NULL,
    media_id uuid CONSTRAINT fk_jobs_media_id REFERENCES media (id) ON DELETE SET NULL,
    checkpoint_id uuid CONSTRAINT fk_jobs_checkpoint_id REFERENCES checkpoints (id),
    options jsonb NOT NULL,
    state text NOT NULL,
    frames_done bigint NOT NULL DEFAULT 0,
    frames_total bigint,
    width integer,
    height integer,
    attempts integer NOT NULL DEFAULT 0,
    worker uuid,
    lease uuid,
    lease_until timestamptz,
    deadline timestamptz,
    cancel_requested boolean NOT NULL DEFAULT false,
    error jsonb,
    warnings text[] NOT NULL DEFAULT '{}',
    resume bytea,
    idempotency_key text,
    request_sha256 text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    expires_at timestamptz,
    CONSTRAINT ck_jobs_kind CHECK (kind IN ('image', 'video')),
    CONSTRAINT ck_jobs_state CHECK (state IN ('queued','running','succeeded','failed','cancelling','cancelled')),
    CONSTRAINT ck_jobs_lease CHECK ((lease IS NOT NULL) = (state IN ('running', 'cancelling')))
);
CREATE INDEX ix_jobs_tenant_id ON jobs (tenant, id);
CREATE INDEX ix_jobs_queue ON jobs (kind, id) WHERE state = 'queued';
CREATE INDEX ix_jobs_leased ON jobs (lease_until) WHERE lease IS NOT NULL;
CREATE INDEX ix_jobs_expires_at ON jobs (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX ix_jobs_media_id ON jobs (media_id) WHERE media_id IS NOT NULL;
CREATE UNIQUE INDEX uq_jobs_tenant_idempotency_key ON jobs (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE payloads (
    job_id uuid NOT NULL CONSTRAINT pk_payloads PRIMARY KEY
        CONSTRAINT fk_payloads_job_id REFERENCES jobs (id) ON DELETE CASCADE,
    bytes bytea NOT NULL
);
ALTER TABLE payloads ALTER COLUMN bytes SET STORAGE EXTERNAL;

CREATE TABLE frames (
    job_id uuid NOT NULL CONSTRAINT fk_frames_job_id REFERENCES jobs (id) ON DELETE CASCADE,
    frame integer NOT NULL,
    pts_ms double precision NOT NULL,
    faces smallint NOT NULL,
    CONSTRAINT pk_frames PRIMARY KEY (job_id, frame)
);

CREATE TABLE face_frames (
    job_id uuid NOT NULL CONSTRAINT fk_face_frames_job_id REFERENCES jobs (id) ON DELETE CASCADE,
    frame integer NOT NULL,
    face smallint NOT NULL,
    track integer NOT NULL,
    pts_ms double precision NOT NULL,
    box real[] NOT NULL,
    face_score real NOT NULL,
    presence real NOT NULL,
    landmarks bytea NOT NULL,
    au_score real[] NOT NULL,
    au_probability real[] NOT NULL,
    au_active boolean[] NOT NULL,
    roi_amplitude real[],
    roi_centres real[],
    CONSTRAINT pk_face_frames PRIMARY KEY (job_id, frame, face)
);
CREATE INDEX ix_face_frames_job_id_track_frame ON face_frames (job_id, track, frame);

CREATE TABLE roi_maps (
    job_id uuid NOT NULL CONSTRAINT fk_roi_maps_job_id REFERENCES jobs (id) ON DELETE CASCADE,
    frame integer NOT NULL,
    face smallint NOT NULL,
    codec smallint NOT NULL,
    data bytea NOT NULL,
    CONSTRAINT pk_roi_maps PRIMARY KEY (job_id, frame, face)
);
ALTER TABLE roi_maps ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE tracks (
    job_id uuid NOT NULL CONSTRAINT fk_tracks_job_id REFERENCES jobs (id) ON DELETE CASCADE,
    track integer NOT NULL,
    first_frame integer NOT NULL,
    last_frame integer NOT NULL,
    frames integer NOT NULL,
    CONSTRAINT pk_tracks PRIMARY KEY (job_id, track)
);

CREATE TABLE workers (
    id uuid CONSTRAINT pk_workers PRIMARY KEY,
    queues text[] NOT NULL,
    pid integer NOT NULL,
    host text NOT NULL,
    checkpoint text,
    engine text,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now()
);
"""


def upgrade() -> None:
    for statement in _STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    for table in ("workers", "tracks", "roi_maps", "face_frames", "frames", "payloads"):
        op.execute(f"DROP TABLE {table}")
    for table in ("jobs", "checkpoints", "media", "api_keys"):
        op.execute(f"DROP TABLE {table}")
