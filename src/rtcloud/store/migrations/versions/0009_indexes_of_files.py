"""Files that wait, and those made of segments, are found without a look at all that a task ever wrote."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_WAITING = "wanted = 1 AND end_ms IS NOT NULL AND uploaded_ms IS NULL"


def upgrade() -> None:
    op.drop_index("task_files_pending", table_name="task_files")
    op.create_index("task_files_pending", "task_files", ["task_id", "end_ms"], sqlite_where=sa.text(_WAITING))
    op.create_index("task_files_made", "task_files", ["task_id"], sqlite_where=sa.text("kind != 'segment'"))
