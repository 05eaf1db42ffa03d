"""The rows of accounts: values in and out of the database, secrets sealed on the way."""

from collections import defaultdict
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, Table, delete, insert, literal_column, select, text, update

from rtcloud.accounts.entities import (
    Account,
    AccountSettings,
    Application,
    ApplicationSettings,
    KeyPair,
    Policy,
    Role,
    User,
)
from rtcloud.accounts.memory import Memory
from rtcloud.accounts.policies import parse_document
from rtcloud.store import tables
from rtcloud.store.sealing import Sealer

#: What each kind of secret is sealed for.
KEY_PAIR_PURPOSE = "secret_keys.secret_key"
APPLICATION_PURPOSE = "applications.secret_key"

FIRST_POLICY_ID = 1001


class Rows:
    """For the length of one transaction."""

    def __init__(self, connection: Connection, sealer: Sealer) -> None:
        self._connection = connection
        self._sealer = sealer

    # Reading ------------------------------------------------------------------------------------------------------

    def has_accounts(self) -> bool:
        return self._connection.execute(select(tables.accounts.c.uin).limit(1)).first() is not None

    def read(self) -> Memory:
        memory = Memory()
        for row in self._all(tables.accounts):
            settings = msgspec.json.decode(row.settings, type=AccountSettings)
            memory.put_account(Account(row.uin, row.name, settings, row.created_ms))
        for row in self._all(tables.policies):
            document = parse_document(row.document, account_uin=row.account_uin)
            memory.put_policy(Policy(row.id, row.account_uin, row.name, document, row.description, row.created_ms))
        of_users: dict[str, list[Policy]] = defaultdict(list)
        of_roles: dict[int, list[Policy]] = defaultdict(list)
        for row in self._connection.execute(select(tables.policy_attachments).order_by(tables.policy_attachments.c.id)):
            policy = memory.policies[row.policy_id]
            (of_roles[row.role] if row.user_uin is None else of_users[row.user_uin]).append(policy)
        for row in self._all(tables.users):
            memory.put_user(User(row.uin, row.account_uin, row.name, tuple(of_users[row.uin]), row.created_ms))
        for row in self._all(tables.roles):
            trusted = msgspec.json.decode(row.trusted, type=tuple[str, ...])
            policies = tuple(of_roles[row.id])
            memory.put_role(Role(row.account_uin, row.name, trusted, policies, row.description, row.created_ms))
        for row in self._all(tables.secret_keys):
            key = self._open(row.secret_key_sealed, KEY_PAIR_PURPOSE)
            memory.put_key_pair(KeyPair(row.secret_id, key, memory.users[row.user_uin], row.enabled, row.created_ms))
        for row in self._all(tables.applications):
            memory.put_application(self._application(row))
        return memory

    def _all(self, table: Table) -> Any:
        """Oldest first: rows of the same millisecond in the order in which they were written."""
        statement: Select[Any] = select(table).order_by(table.c.created_ms, literal_column("rowid"))
        return self._connection.execute(statement)

    def _application(self, row: Any) -> Application:
        previous = row.previous_secret_key_sealed
        return Application(
            row.sdk_app_id,
            row.account_uin,
            row.name,
            self._open(row.secret_key_sealed, APPLICATION_PURPOSE),
            msgspec.json.decode(row.settings, type=ApplicationSettings),
            "" if previous is None else self._open(previous, APPLICATION_PURPOSE),
            row.previous_until_ms,
            row.created_ms,
        )

    def _open(self, sealed: bytes, purpose: str) -> str:
        return self._sealer.open(sealed, purpose=purpose).decode()

    # Accounts, users, key pairs -----------------------------------------------------------------------------------

    def insert_account(self, account: Account) -> None:
        values = {"uin": account.uin, "created_ms": account.created_ms}
        self._insert(tables.accounts, **values, name=account.name, settings=_json(account.settings))

    def update_account(self, account: Account) -> None:
        self._update(
            tables.accounts, tables.accounts.c.uin == account.uin, name=account.name, settings=_json(account.settings)
        )

    def delete_account(self, uin: str) -> None:
        """With its policies and roles, which nobody holds: it has no users."""
        of_account = tables.policies.c.account_uin == uin
        attached = tables.policy_attachments.c.policy_id.in_(select(tables.policies.c.id).where(of_account))
        held = tables.policy_attachments.c.role.in_(select(tables.roles.c.id).where(tables.roles.c.account_uin == uin))
        self._delete(tables.policy_attachments, attached | held)
        for table in (tables.policies, tables.roles):
            self._delete(table, table.c.account_uin == uin)
        self._delete(tables.accounts, tables.accounts.c.uin == uin)

    def insert_user(self, user: User) -> None:
        self._insert(
            tables.users, uin=user.uin, account_uin=user.account_uin, name=user.name, created_ms=user.created_ms
        )
        for policy in user.policies:
            self.attach(policy.policy_id, user=user)

    def delete_user(self, user: User) -> None:
        self._delete(tables.policy_attachments, tables.policy_attachments.c.user_uin == user.uin)
        self._delete(tables.secret_keys, tables.secret_keys.c.user_uin == user.uin)
        self._delete(tables.users, tables.users.c.uin == user.uin)

    def insert_key_pair(self, pair: KeyPair) -> None:
        self._insert(
            tables.secret_keys,
            secret_id=pair.secret_id,
            user_uin=pair.user.uin,
            secret_key_sealed=self._sealer.seal(pair.secret_key.encode(), purpose=KEY_PAIR_PURPOSE),
            enabled=pair.enabled,
            created_ms=pair.created_ms,
        )

    def enable_key_pair(self, secret_id: str, enabled: bool) -> None:
        self._update(tables.secret_keys, tables.secret_keys.c.secret_id == secret_id, enabled=enabled)

    def delete_key_pair(self, secret_id: str) -> None:
        self._delete(tables.secret_keys, tables.secret_keys.c.secret_id == secret_id)

    # Policies and roles -------------------------------------------------------------------------------------------

    def insert_policy(self, policy: Policy) -> int:
        """Its id: the first is 1001, and that of a deleted policy is never given again."""
        sequence = text("SELECT seq FROM sqlite_sequence WHERE name = 'policies'")
        last: int = self._connection.execute(sequence).scalar() or FIRST_POLICY_ID - 1
        self._insert(
            tables.policies,
            id=last + 1,
            account_uin=policy.account_uin,
            name=policy.name,
            description=policy.description,
            document=policy.document.text,
            created_ms=policy.created_ms,
        )
        return last + 1

    def update_policy(self, policy: Policy) -> None:
        self._update(
            tables.policies,
            tables.policies.c.id == policy.policy_id,
            document=policy.document.text,
            description=policy.description,
        )

    def delete_policy(self, policy_id: int) -> None:
        self._delete(tables.policy_attachments, tables.policy_attachments.c.policy_id == policy_id)
        self._delete(tables.policies, tables.policies.c.id == policy_id)

    def attach(self, policy_id: int, *, user: User | None = None, role: Role | None = None) -> None:
        values = {"user_uin": user.uin if user else None, "role": self._role_id(role) if role else None}
        self._insert(tables.policy_attachments, policy_id=policy_id, **values)

    def detach(self, policy_id: int, *, user: User | None = None, role: Role | None = None) -> None:
        attachments = tables.policy_attachments.c
        holder = attachments.role == self._role_id(role) if role else attachments.user_uin == (user and user.uin)
        self._delete(tables.policy_attachments, holder & (attachments.policy_id == policy_id))

    def insert_role(self, role: Role) -> None:
        self._insert(
            tables.roles,
            account_uin=role.account_uin,
            name=role.name,
            trusted=_json(role.trusted),
            description=role.description,
            created_ms=role.created_ms,
        )

    def update_role(self, role: Role) -> None:
        same = tables.roles.c.id == self._role_id(role)
        self._update(tables.roles, same, trusted=_json(role.trusted), description=role.description)

    def delete_role(self, role: Role) -> None:
        role_id = self._role_id(role)
        self._delete(tables.policy_attachments, tables.policy_attachments.c.role == role_id)
        self._delete(tables.roles, tables.roles.c.id == role_id)

    def _role_id(self, role: Role) -> int:
        roles = tables.roles.c
        wanted = select(roles.id).where(roles.account_uin == role.account_uin, roles.name == role.name)
        return int(self._connection.execute(wanted).scalar_one())

    # Applications -------------------------------------------------------------------------------------------------

    def insert_application(self, application: Application) -> None:
        self._insert(
            tables.applications,
            sdk_app_id=application.sdk_app_id,
            account_uin=application.account_uin,
            created_ms=application.created_ms,
            **self._changeable(application),
        )

    def update_application(self, application: Application) -> None:
        same = tables.applications.c.sdk_app_id == application.sdk_app_id
        self._update(tables.applications, same, **self._changeable(application))

    def delete_application(self, sdk_app_id: int) -> None:
        for table in (tables.callback_targets, tables.watermarks, tables.applications):
            self._delete(table, table.c.sdk_app_id == sdk_app_id)

    def _changeable(self, application: Application) -> dict[str, Any]:
        previous = application.previous_secret_key.encode()
        return {
            "name": application.name,
            "settings": _json(application.settings),
            "secret_key_sealed": self._sealer.seal(application.secret_key.encode(), purpose=APPLICATION_PURPOSE),
            "previous_secret_key_sealed": self._sealer.seal(previous, purpose=APPLICATION_PURPOSE)
            if previous
            else None,
            "previous_until_ms": application.previous_until_ms,
        }

    # ---------------------------------------------------------------------------------------------------------------

    def _insert(self, table: Table, **values: Any) -> None:
        self._connection.execute(insert(table).values(values))

    def _update(self, table: Table, where: ColumnElement[bool], **values: Any) -> None:
        self._connection.execute(update(table).where(where).values(values))

    def _delete(self, table: Table, where: ColumnElement[bool]) -> None:
        self._connection.execute(delete(table).where(where))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
