"""What tasks cost and where that is limited, attempts that count, the rooms that a task's robot joins."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table, column in (("tasks", "spent"), ("tasks", "load"), ("workers", "capacity")):
        op.add_column(table, sa.Column(column, sa.Integer(), nullable=False, server_default="0"))
    op.execute("UPDATE tasks SET spent = attempts")
    op.create_table(
        "task_rooms",
        sa.Column("task_id", sa.String(length=128), nullable=False),
        sa.Column("numeric", sa.Boolean(), nullable=False),
        sa.Column("room_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"]),
        sa.PrimaryKeyConstraint("task_id", "numeric", "room_id"),
    )
