"""Callbacks: the head of each room's queue, indexes of what is looked for, chosen events, the origin of addresses."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_INDEXES = (
    ("callbacks_pending", ["ordering", "id"], "state = 'pending'"),
    ("callbacks_due", ["sdk_app_id", "event_group", "next_attempt_ms", "id"], "head = 1"),
    ("callbacks_parked", ["sdk_app_id", "id"], "state = 'parked'"),
    ("callbacks_delivered", ["delivered_ms"], "state = 'delivered'"),
)


def upgrade() -> None:
    op.add_column("callback_targets", sa.Column("trusted", sa.Boolean(), nullable=False, server_default="1"))
    op.add_column("callback_targets", sa.Column("events", sa.Text(), nullable=True))
    op.add_column("callbacks", sa.Column("retries_from_ms", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("callbacks", sa.Column("head", sa.Boolean(), nullable=False, server_default="0"))
    op.execute("UPDATE callbacks SET retries_from_ms = created_ms")
    op.execute(
        "UPDATE callbacks SET head = 1 WHERE id IN "
        "(SELECT min(id) FROM callbacks WHERE state = 'pending' GROUP BY ordering)"
    )
    op.drop_index("callbacks_pending", table_name="callbacks")
    for name, columns, rows in _INDEXES:
        op.create_index(name, "callbacks", columns, unique=False, sqlite_where=sa.text(rows))
