"""Changes of policies and roles: making them, and giving policies to users and roles."""

from collections.abc import Iterable
from dataclasses import replace

from rtcloud.accounts.changing import Changing, change, check_description, check_identifier, check_quota
from rtcloud.accounts.entities import (
    ATTACHED_POLICIES,
    EVERYBODY,
    POLICIES_PER_ACCOUNT,
    ROLES_PER_ACCOUNT,
    AccountsError,
    Policy,
    Role,
    User,
)
from rtcloud.accounts.memory import holds, without
from rtcloud.accounts.names import known_actions
from rtcloud.accounts.policies import PRESETS, Document, PolicyError, parse_document


class PermissionChanges(Changing):
    @change
    async def create_policy(self, account_uin: str, name: str, document_text: str, description: str = "") -> Policy:
        """Refused for its document, the cause of the ``AccountsError`` is the ``PolicyError``."""
        self._require_account(account_uin)
        check_identifier("policy", name, 128)
        check_description("policy", description)
        others = self._held.owned(account_uin).policies.values()
        if name in PRESETS or any(other.name == name for other in others):
            raise AccountsError("in_use", "policy", f"there is a policy {name} already")
        check_quota("policy", len(others), POLICIES_PER_ACCOUNT, "the account")
        document = _document(document_text, account_uin)
        policy = Policy(0, account_uin, name, document, description, self._clock.now_ms())
        policy = replace(policy, policy_id=await self._write(lambda rows: rows.insert_policy(policy)))
        self._held.put_policy(policy)
        return policy

    @change
    async def update_policy(
        self, policy_id: int, *, account_uin: str, document_text: str | None = None, description: str | None = None
    ) -> Policy:
        """Whoever it is attached to has the new rights at once."""
        policy = self._require_own(policy_id, account_uin)
        if document_text is not None:
            policy = replace(policy, document=_document(document_text, account_uin))
        if description is not None:
            check_description("policy", description)
            policy = replace(policy, description=description)
        await self._write(lambda rows: rows.update_policy(policy))
        self._held.put_policy(policy)
        return policy

    @change
    async def delete_policy(self, policy_id: int, *, account_uin: str) -> None:
        """It is detached from everyone."""
        policy = self._require_own(policy_id, account_uin)
        await self._write(lambda rows: rows.delete_policy(policy_id))
        self._held.drop_policy(policy)

    @change
    async def attach_policy(
        self, account_uin: str, policy_id: int, *, user_uin: str | None = None, role: str | None = None
    ) -> None:
        """Again is no change. Exactly one of ``user_uin`` and ``role`` is given."""
        policy = self._require_policy(policy_id, account_uin)
        user, found = self._holder(account_uin, user_uin, role)
        policies = (user or found).policies  # type: ignore[union-attr]
        if holds(policies, policy_id):
            return
        check_quota("policy", len(policies), ATTACHED_POLICIES, "the user" if user else "the role")
        await self._write(lambda rows: rows.attach(policy_id, user=user, role=found))
        self._give(user, found, (*policies, policy))

    @change
    async def detach_policy(
        self, account_uin: str, policy_id: int, *, user_uin: str | None = None, role: str | None = None
    ) -> None:
        """One that is not attached is no error."""
        self._require_policy(policy_id, account_uin)
        user, found = self._holder(account_uin, user_uin, role)
        await self._write(lambda rows: rows.detach(policy_id, user=user, role=found))
        self._give(user, found, without((user or found).policies, policy_id))  # type: ignore[union-attr]

    @change
    async def create_role(self, account_uin: str, name: str, trusted: Iterable[str], description: str = "") -> Role:
        """``trusted``: uins of the account's users, or ``*`` for all of them."""
        self._require_account(account_uin)
        check_identifier("role", name, 128)
        check_description("role", description)
        owned = self._held.owned(account_uin)
        if name in owned.roles:
            raise AccountsError("in_use", "role", f"the account already has a role {name}")
        check_quota("role", len(owned.roles), ROLES_PER_ACCOUNT, "the account")
        wanted = self._trusted(account_uin, trusted)
        role = Role(account_uin, name, wanted, (), description, self._clock.now_ms())
        await self._write(lambda rows: rows.insert_role(role))
        self._held.put_role(role)
        return role

    @change
    async def update_role(
        self, account_uin: str, name: str, *, trusted: Iterable[str] | None = None, description: str | None = None
    ) -> Role:
        """Who is trusted no more loses what it has assumed."""
        role = self._require_role(account_uin, name)
        if trusted is not None:
            role = replace(role, trusted=self._trusted(account_uin, trusted))
        if description is not None:
            check_description("role", description)
            role = replace(role, description=description)
        await self._write(lambda rows: rows.update_role(role))
        self._held.put_role(role)
        return role

    @change
    async def delete_role(self, account_uin: str, name: str) -> None:
        """Who has assumed it loses it."""
        role = self._require_role(account_uin, name)
        await self._write(lambda rows: rows.delete_role(role))
        self._held.drop_role(role)

    def _require_policy(self, policy_id: int, account_uin: str) -> Policy:
        policy = self._held.policies.get(policy_id)
        if policy is None or policy.account_uin not in ("", account_uin):
            raise AccountsError("not_found", "policy", f"there is no policy {policy_id}")
        return policy

    def _require_own(self, policy_id: int, account_uin: str) -> Policy:
        policy = self._require_policy(policy_id, account_uin)
        if not policy.account_uin:
            raise AccountsError("invalid", "policy", f"{policy.name} is a preset: it cannot be changed or deleted")
        return policy

    def _require_role(self, account_uin: str, name: str) -> Role:
        role = self._held.owned(account_uin).roles.get(name)
        if role is None:
            raise AccountsError("not_found", "role", f"there is no role {name}")
        return role

    def _trusted(self, account_uin: str, trusted: Iterable[str]) -> tuple[str, ...]:
        users, wanted = self._held.owned(account_uin).users, tuple(dict.fromkeys(trusted))
        if not wanted:
            raise AccountsError("invalid", "role", "trusted: name a user, or * for all users of the account")
        for uin in wanted:
            if uin != EVERYBODY and uin not in users:
                raise AccountsError("invalid", "role", f"trusted: the account has no user {uin}")
        return wanted

    def _holder(self, account_uin: str, user_uin: str | None, role: str | None) -> tuple[User | None, Role | None]:
        if (user_uin is None) == (role is None):
            raise AccountsError("invalid", "policy", "name either a user or a role")
        if role is not None:
            return None, self._require_role(account_uin, role)
        return self._require_user(user_uin or "", account_uin), None

    def _give(self, user: User | None, role: Role | None, policies: tuple[Policy, ...]) -> None:
        if user is not None:
            self._held.put_user(replace(user, policies=policies))
        if role is not None:
            self._held.put_role(replace(role, policies=policies))


def _document(text: str, account_uin: str) -> Document:
    try:
        return parse_document(text, account_uin=account_uin, known_actions=known_actions())
    except PolicyError as error:
        raise AccountsError("invalid", "policy", str(error)) from error
