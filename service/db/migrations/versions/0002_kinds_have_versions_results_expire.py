"""Kinds have versions, workers say which they know, results expire, curves have buckets, lists have indexes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
INDEXES = {
    "ix_jobs_page_status": ["tenant", "status", "id"],
    "ix_jobs_page_kind": ["tenant", "kind", "id"],
    "ix_jobs_page_status_kind": ["tenant", "status", "kind", "id"],
    "ix_jobs_status_queue": ["status", "queue"],
    "ix_jobs_keeping": ["cleared_at", "expired_at", "finished_at"],
}


def upgrade() -> None:
    # Processes of the version before go on beside this schema, so that every column has a default of the database's.
    op.add_column("jobs", sa.Column("kind_version", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("jobs", sa.Column("expired_at", sa.Float(precision=53), nullable=True))
    op.add_column("jobs", sa.Column("cleared_at", sa.Float(precision=53), nullable=True))
    op.add_column("uploads", sa.Column("used_at", sa.Float(precision=53), nullable=True))
    op.add_column("workers", sa.Column("kinds", JSON, nullable=False, server_default="{}"))
    op.create_table(
        "metric_buckets",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("width", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("bucket", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.Float(precision=53), nullable=True),
        sa.Column("low", sa.Float(precision=53), nullable=True),
        sa.Column("high", sa.Float(precision=53), nullable=True),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_metric_buckets_job_id_jobs"),
        sa.PrimaryKeyConstraint("job_id", "key", "width", "bucket", name="pk_metric_buckets"),
    )
    for name, columns in INDEXES.items():
        op.create_index(name, "jobs", columns)
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def downgrade() -> None:
    op.drop_index("ix_idempotency_keys_created_at", "idempotency_keys")
    for name in INDEXES:
        op.drop_index(name, "jobs")
    op.drop_table("metric_buckets")
    op.drop_column("workers", "kinds")
    op.drop_column("uploads", "used_at")
    op.drop_column("jobs", "cleared_at")
    op.drop_column("jobs", "expired_at")
    op.drop_column("jobs", "kind_version")
