"""The tables. Arrays over Action Units follow the checkpoint's `au_codes`; times are `timestamptz`, pixels upright."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_Real = pg.REAL
_Time = sa.DateTime(timezone=True)
_now = sa.text("now()")


def _job_key() -> sa.Column[object]:
    return sa.Column("job_id", pg.UUID(as_uuid=True), sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False)


api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", pg.UUID(as_uuid=True), primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("key_sha256", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("scopes", pg.ARRAY(sa.Text), nullable=False),
    sa.Column("created_at", _Time, nullable=False, server_default=_now),
    sa.Column("expires_at", _Time),
    sa.Column("revoked_at", _Time),
)

media = sa.Table(
    "media",
    metadata,
    sa.Column("id", pg.UUID(as_uuid=True), primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("mime", sa.Text, nullable=False),
    sa.Column("name", sa.Text),  # the client's file name, for display only
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("width", sa.Integer),
    sa.Column("height", sa.Integer),
    sa.Column("fps", sa.Double),
    sa.Column("duration_ms", sa.Double),
    sa.Column("frames", sa.BigInteger),
    sa.Column("uri", sa.Text, nullable=False, unique=True),
    sa.Column("created_at", _Time, nullable=False, server_default=_now),
    sa.Column("expires_at", _Time),
    sa.Index("ix_media_tenant_created_at", "tenant", "created_at"),
)

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("id", pg.UUID(as_uuid=True), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("au_codes", pg.ARRAY(sa.Text), nullable=False),
    sa.Column("manifest", pg.JSONB, nullable=False),
    sa.Column("created_at", _Time, nullable=False, server_default=_now),
    sa.UniqueConstraint("name", "version"),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", pg.UUID(as_uuid=True), primary_key=True),  # uuid v7: the order of ids is the order of creation
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("media_id", pg.UUID(as_uuid=True), sa.ForeignKey("media.id", ondelete="SET NULL")),
    sa.Column("checkpoint_id", pg.UUID(as_uuid=True), sa.ForeignKey("checkpoints.id")),
    sa.Column("reading", sa.Text),  # network or both; null until a worker has taken it up
    sa.Column("options", pg.JSONB, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("frames_done", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("frames_total", sa.BigInteger),
    sa.Column("width", sa.Integer),
    sa.Column("height", sa.Integer),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("worker", pg.UUID(as_uuid=True)),
    sa.Column("lease", pg.UUID(as_uuid=True)),  # one value per claim: fences every write of a worker
    sa.Column("lease_until", _Time),
    sa.Column("deadline", _Time),
    sa.Column("cancel_requested", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("error", pg.JSONB(none_as_null=True)),
    sa.Column("warnings", pg.ARRAY(sa.Text), nullable=False, server_default="{}"),
    sa.Column("resume", sa.LargeBinary),  # the tracker's state at the last commit
    sa.Column("idempotency_key", sa.Text),
    sa.Column("request_sha256", sa.Text),
    sa.Column("created_at", _Time, nullable=False, server_default=_now),
    sa.Column("updated_at", _Time, nullable=False, server_default=_now),
    sa.Column("started_at", _Time),
    sa.Column("finished_at", _Time),
    sa.Column("expires_at", _Time),
    sa.CheckConstraint("kind IN ('image', 'video')", name="kind"),
    sa.CheckConstraint("state IN ('queued','running','succeeded','failed','cancelling','cancelled')", name="state"),
    sa.CheckConstraint("(lease IS NOT NULL) = (state IN ('running', 'cancelling'))", name="lease"),
    sa.Index("ix_jobs_tenant_id", "tenant", "id"),
    sa.Index("ix_jobs_queue", "kind", "id", postgresql_where=sa.text("state = 'queued'")),
    sa.Index("ix_jobs_leased", "lease_until", postgresql_where=sa.text("lease IS NOT NULL")),
    sa.Index("ix_jobs_expires_at", "expires_at", postgresql_where=sa.text("expires_at IS NOT NULL")),
    sa.Index("ix_jobs_media_id", "media_id", postgresql_where=sa.text("media_id IS NOT NULL")),
    sa.Index(
        "uq_jobs_tenant_idempotency_key",
        "tenant",
        "idempotency_key",
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    ),
)

payloads = sa.Table(
    "payloads",
    metadata,
    sa.Column(
        "job_id", pg.UUID(as_uuid=True), sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, nullable=False
    ),
    sa.Column("bytes", sa.LargeBinary, nullable=False),  # STORAGE EXTERNAL: images are compressed already
)

frames = sa.Table(
    "frames",
    metadata,
    _job_key(),
    sa.Column("frame", sa.Integer, nullable=False),
    sa.Column("pts_ms", sa.Double, nullable=False),
    sa.Column("faces", sa.SmallInteger, nullable=False),
    sa.PrimaryKeyConstraint("job_id", "frame"),
)

face_frames = sa.Table(
    "face_frames",
    metadata,
    _job_key(),
    sa.Column("frame", sa.Integer, nullable=False),
    sa.Column("face", sa.SmallInteger, nullable=False),
    sa.Column("track", sa.Integer, nullable=False),
    sa.Column("pts_ms", sa.Double, nullable=False),
    sa.Column("box", pg.ARRAY(_Real), nullable=False),  # left, top, right, bottom
    sa.Column("face_score", _Real, nullable=False),
    sa.Column("presence", _Real, nullable=False),
    sa.Column("landmarks", sa.LargeBinary, nullable=False),  # (68, 2) float32, little endian
    sa.Column("au_score", pg.ARRAY(_Real), nullable=False),
    sa.Column("au_probability", pg.ARRAY(_Real), nullable=False),  # NaN: the AU could not be read
    sa.Column("au_active", pg.ARRAY(sa.Boolean), nullable=False),
    sa.Column("roi_amplitude", pg.ARRAY(_Real)),  # (K, 2) flattened; null with roi=none
    sa.Column("roi_centres", pg.ARRAY(_Real)),  # (K, 2, 2) flattened, image pixels; null with roi=none
    sa.Column("measures", pg.ARRAY(_Real)),  # (Q,) of brows and lids; null where the checkpoint has no use for them
    sa.PrimaryKeyConstraint("job_id", "frame", "face"),
    sa.Index("ix_face_frames_job_id_track_frame", "job_id", "track", "frame"),
)

roi_maps = sa.Table(
    "roi_maps",
    metadata,
    _job_key(),
    sa.Column("frame", sa.Integer, nullable=False),
    sa.Column("face", sa.SmallInteger, nullable=False),
    sa.Column("codec", sa.SmallInteger, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),  # STORAGE EXTERNAL: the codec has compressed it
    sa.PrimaryKeyConstraint("job_id", "frame", "face"),
)

explanations = sa.Table(
    "explanations",
    metadata,
    _job_key(),
    sa.Column("frame", sa.Integer, nullable=False),
    sa.Column("face", sa.SmallInteger, nullable=False),
    sa.Column("crop", sa.LargeBinary, nullable=False),  # (S, S, 3) uint8 RGB, what the network is to see
    sa.Column("arrays", sa.LargeBinary),  # STORAGE EXTERNAL: a compressed .npz; null until a worker has made it
    sa.Column("error", pg.JSONB(none_as_null=True)),
    sa.Column("attempts", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("lease_until", _Time),
    sa.Column("deadline", _Time, nullable=False),
    sa.Column("requested_at", _Time, nullable=False, server_default=_now),
    sa.PrimaryKeyConstraint("job_id", "frame", "face"),
    sa.Index("ix_explanations_queue", "requested_at", postgresql_where=sa.text("arrays IS NULL AND error IS NULL")),
    sa.Index("ix_explanations_requested_at", "requested_at"),
)

tracks = sa.Table(
    "tracks",
    metadata,
    _job_key(),
    sa.Column("track", sa.Integer, nullable=False),
    sa.Column("first_frame", sa.Integer, nullable=False),
    sa.Column("last_frame", sa.Integer, nullable=False),
    sa.Column("frames", sa.Integer, nullable=False),
    sa.Column("rest", pg.ARRAY(_Real)),  # (Q,) what the measures are at rest; null until the clip's end, or unknown
    sa.PrimaryKeyConstraint("job_id", "track"),
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", pg.UUID(as_uuid=True), primary_key=True),
    sa.Column("queues", pg.ARRAY(sa.Text), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("checkpoint", sa.Text),
    sa.Column("engine", sa.Text),
    sa.Column("started_at", _Time, nullable=False, server_default=_now),
    sa.Column("seen_at", _Time, nullable=False, server_default=_now),
)

_OPEN_DELIVERY = sa.text("state IN ('fetching', 'analysing')")

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", pg.UUID(as_uuid=True), primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),  # the system that gets it
    sa.Column("identity", sa.Text, nullable=False),  # equal for two requests for the same
    sa.Column("target", pg.JSONB, nullable=False),  # what that system needs, in its own words
    sa.Column("job_id", pg.UUID(as_uuid=True), sa.ForeignKey("jobs.id", ondelete="SET NULL")),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("detail", sa.Text),
    sa.Column("due_at", _Time, nullable=False, server_default=_now),
    sa.Column("lease", pg.UUID(as_uuid=True)),
    sa.Column("lease_until", _Time),
    sa.Column("created_at", _Time, nullable=False, server_default=_now),
    sa.Column("finished_at", _Time),
    sa.CheckConstraint("state IN ('fetching','analysing','delivered','failed')", name="state"),
    sa.Index("uq_deliveries_open", "tenant", "kind", "identity", unique=True, postgresql_where=_OPEN_DELIVERY),
    sa.Index("ix_deliveries_due", "kind", "due_at", postgresql_where=_OPEN_DELIVERY),
    sa.Index("ix_deliveries_tenant_kind", "tenant", "kind", "id"),
    sa.Index("ix_deliveries_job_id", "job_id", postgresql_where=sa.text("job_id IS NOT NULL")),
)
