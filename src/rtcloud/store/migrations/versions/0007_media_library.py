"""The media library."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tasks", sa.Column("lists_files", sa.Boolean(), nullable=False, server_default="1"))
    op.create_table(
        "library_files",
        sa.Column("file_id", sa.String(length=20), nullable=False),
        sa.Column("task_id", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("sdk_app_id", sa.BigInteger(), nullable=False),
        sa.Column("numeric", sa.Boolean(), nullable=False),
        sa.Column("room_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("media_id", sa.String(length=8), nullable=False),
        sa.Column("track_type", sa.String(length=16), nullable=False),
        sa.Column("begin_ms", sa.BigInteger(), nullable=False),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("arrived_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        sa.Column("details", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"]),
        sa.PrimaryKeyConstraint("file_id"),
    )
    op.create_index("library_files_expiring", "library_files", ["expires_ms"])
    op.create_index("library_files_of_applications", "library_files", ["sdk_app_id", "arrived_ms"])
