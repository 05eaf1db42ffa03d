"""What the application sets for a room: its metadata, and whom it silenced."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rooms", sa.Column("metadata", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "room_blocks",
        sa.Column("room", sa.String(length=32), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("kinds", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["room"], ["rooms.id"]),
        sa.PrimaryKeyConstraint("room", "user_id"),
    )
