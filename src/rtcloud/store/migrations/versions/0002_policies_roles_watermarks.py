"""Policies, roles, watermarks, settings of accounts, a second key of applications.

The preset policies that a user's row named become attachments. Until now nothing but the one service asked for a
policy; so that whoever set up an account can go on to manage it, its oldest user becomes its administrator.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_PRESETS = {"QcloudTRTCFullAccess": 1, "QcloudTRTCReadonlyAccess": 2}
_ADMINISTRATOR = 3


def upgrade() -> None:
    _add_columns()
    _make_tables()
    _attach_policies(op.get_bind())
    with op.batch_alter_table("users", schema=None) as batch_op:
        batch_op.drop_column("policies")


def _add_columns() -> None:
    op.add_column("accounts", sa.Column("name", sa.String(length=64), nullable=False, server_default="default"))
    op.add_column("accounts", sa.Column("settings", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("users", sa.Column("created_ms", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("applications", sa.Column("previous_secret_key_sealed", sa.LargeBinary(), nullable=True))
    op.add_column("applications", sa.Column("previous_until_ms", sa.BigInteger(), nullable=False, server_default="0"))


def _make_tables() -> None:
    op.create_table(
        "policies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_uin", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("description", sa.String(length=300), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_uin"], ["accounts.uin"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account_uin", "name", name="policies_named"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "roles",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_uin", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("trusted", sa.Text(), nullable=False),
        sa.Column("description", sa.String(length=300), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_uin"], ["accounts.uin"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account_uin", "name", name="roles_named"),
    )
    op.create_table(
        "policy_attachments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_uin", sa.String(length=20), nullable=True),
        sa.Column("role", sa.Integer(), nullable=True),
        sa.Column("policy_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["user_uin"], ["users.uin"]),
        sa.ForeignKeyConstraint(["role"], ["roles.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user_uin", "policy_id", name="policy_attachments_of_users"),
        sa.UniqueConstraint("role", "policy_id", name="policy_attachments_of_roles"),
    )
    op.create_table(
        "watermarks",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("sdk_app_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("format", sa.String(length=8), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("x", sa.Integer(), nullable=False),
        sa.Column("y", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["sdk_app_id"], ["applications.sdk_app_id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("watermarks_of_application", "watermarks", ["sdk_app_id"], unique=False)


def _attach_policies(connection: sa.Connection) -> None:
    attach = sa.text("INSERT INTO policy_attachments (user_uin, policy_id) VALUES (:user, :policy)")
    have_administrator: set[str] = set()
    for user, account, named in connection.execute(
        sa.text("SELECT uin, account_uin, policies FROM users ORDER BY rowid")
    ).all():
        known = {_PRESETS[name] for name in json.loads(named) if name in _PRESETS}
        if account not in have_administrator:
            have_administrator.add(account)
            known.add(_ADMINISTRATOR)
        for policy in sorted(known):
            connection.execute(attach, {"user": user, "policy": policy})
    connection.execute(
        sa.text(
            "UPDATE users SET created_ms = (SELECT created_ms FROM accounts WHERE accounts.uin = users.account_uin)"
        )
    )
