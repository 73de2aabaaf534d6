"""API keys, webhooks, what a job came from, how large a problem is."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    # Processes of the version before go on beside this schema, so that every column has a default of the database's.
    op.add_column("jobs", sa.Column("retry_of", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("resumed_from", JSON, nullable=True))
    op.add_column("jobs", sa.Column("webhook_url", sa.Text(), nullable=True))
    op.add_column("problems", sa.Column("size_bytes", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("revoked_at", sa.Float(precision=53), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("sha256", name="uq_api_keys_sha256"),
    )
    op.create_table(
        "webhook_secrets",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name="pk_webhook_secrets"),
    )
    op.create_table(
        "webhook_messages",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.Float(precision=53), nullable=True),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("delivered_at", sa.Float(precision=53), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_webhook_messages_job_id_jobs"),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_messages"),
        sa.UniqueConstraint("job_id", name="uq_webhook_messages_job_id"),
    )
    op.create_index("ix_webhook_messages_due_at", "webhook_messages", ["due_at"])


def downgrade() -> None:
    op.drop_index("ix_webhook_messages_due_at", "webhook_messages")
    op.drop_table("webhook_messages")
    op.drop_table("webhook_secrets")
    op.drop_table("api_keys")
    op.drop_column("problems", "size_bytes")
    op.drop_column("jobs", "webhook_url")
    op.drop_column("jobs", "resumed_from")
    op.drop_column("jobs", "retry_of")
