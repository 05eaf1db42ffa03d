"""The tasks of a room are looked for whenever a robot is named, and when somebody in it begins to send."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("tasks_of_rooms", "tasks", ["sdk_app_id", "numeric", "room_id"])
