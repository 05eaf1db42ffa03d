"""Memory of what happened: events, quality samples, refused entries, outputs of tasks; indexes of who asks when."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_INDEXES = (
    ("rooms_of_applications", "rooms", ["sdk_app_id", "destroyed_ms", "created_ms"], None),
    ("rooms_destroyed", "rooms", ["destroyed_ms"], "destroyed_ms IS NOT NULL"),
    ("presences_in_order", "presences", ["room", "joined_ms"], None),
    ("presences_of_users", "presences", ["room", "user_id"], None),
    ("presences_left", "presences", ["left_ms"], "left_ms IS NOT NULL"),
    ("subscriptions_open", "subscriptions", ["presence", "stopped_ms"], None),
)


def upgrade() -> None:
    for name, table, columns, rows in _INDEXES:
        op.create_index(name, table, columns, unique=False, sqlite_where=None if rows is None else sa.text(rows))
    op.create_table(
        "user_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("presence", sa.String(length=32), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("param1", sa.Integer(), nullable=False),
        sa.Column("param2", sa.Integer(), nullable=False),
        sa.Column("stream", sa.Integer(), nullable=False),
        sa.Column("peer", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("user_events_of_presences", "user_events", ["presence", "at_ms"], unique=False)
    op.create_table(
        "quality_minutes",
        sa.Column("minute", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("presence", sa.String(length=32), nullable=False),
        sa.Column("peer", sa.String(length=64), nullable=False),
        sa.Column("samples", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("minute", "presence", "peer"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "refused_entries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sdk_app_id", sa.BigInteger(), nullable=False),
        sa.Column("numeric", sa.Boolean(), nullable=False),
        sa.Column("room_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("refused_entries_of_applications", "refused_entries", ["sdk_app_id", "at_ms"], unique=False)
    op.create_table(
        "task_outputs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("task_id", sa.String(length=128), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("codec", sa.String(length=8), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("audio", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("task_outputs_in_order", "task_outputs", ["task_id", "started_ms"], unique=False)
