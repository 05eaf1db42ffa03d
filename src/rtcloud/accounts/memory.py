"""Accounts and what belongs to them, in memory: every lookup is one step, whatever the number of rows.

Values are frozen and hold one another (a key pair its user, a user its policies); ``put_…`` and ``drop_…`` keep all
copies of a changed value the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from rtcloud.accounts.entities import Account, Application, KeyPair, Policy, Role, User
from rtcloud.accounts.policies import PRESETS

PRESET_POLICIES = {
    preset.policy_id: Policy(preset.policy_id, "", preset.name, preset.document, preset.description)
    for preset in PRESETS.values()
}


@dataclass(slots=True)
class _Owned:
    """Of one account, each in the order of making."""

    users: dict[str, User] = field(default_factory=dict)
    policies: dict[int, Policy] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    applications: dict[int, Application] = field(default_factory=dict)


_NOTHING = _Owned()


class Memory:
    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}  # oldest first
        self.users: dict[str, User] = {}
        self.key_pairs: dict[str, KeyPair] = {}
        self.policies: dict[int, Policy] = dict(PRESET_POLICIES)
        self.applications: dict[int, Application] = {}
        self._owned: dict[str, _Owned] = {}
        self._pairs_of: dict[str, dict[str, None]] = {}

    def owned(self, account_uin: str) -> _Owned:
        return self._owned.get(account_uin, _NOTHING)

    def pairs_of(self, user_uin: str) -> list[KeyPair]:
        return [self.key_pairs[secret_id] for secret_id in self._pairs_of.get(user_uin, ())]

    def put_account(self, account: Account) -> None:
        self.accounts[account.uin] = account
        self._owned.setdefault(account.uin, _Owned())

    def drop_account(self, account: Account) -> None:
        """With its policies and roles; it has no users and applications."""
        for policy_id in self._owned.pop(account.uin).policies:
            del self.policies[policy_id]
        del self.accounts[account.uin]

    def put_user(self, user: User) -> None:
        self.users[user.uin] = user
        self._owned[user.account_uin].users[user.uin] = user
        for pair in self.pairs_of(user.uin):
            self.key_pairs[pair.secret_id] = replace(pair, user=user)

    def drop_user(self, user: User) -> None:
        for secret_id in self._pairs_of.pop(user.uin, ()):
            del self.key_pairs[secret_id]
        del self._owned[user.account_uin].users[user.uin]
        del self.users[user.uin]

    def put_key_pair(self, pair: KeyPair) -> None:
        self.key_pairs[pair.secret_id] = pair
        self._pairs_of.setdefault(pair.user.uin, {})[pair.secret_id] = None

    def drop_key_pair(self, pair: KeyPair) -> None:
        del self.key_pairs[pair.secret_id]
        del self._pairs_of[pair.user.uin][pair.secret_id]

    def put_policy(self, policy: Policy) -> None:
        self.policies[policy.policy_id] = policy
        owned = self._owned[policy.account_uin]
        owned.policies[policy.policy_id] = policy
        for user, role in self._holders(owned, policy.policy_id):
            if user is not None:
                self.put_user(replace(user, policies=_exchanged(user.policies, policy)))
            if role is not None:
                self.put_role(replace(role, policies=_exchanged(role.policies, policy)))

    def drop_policy(self, policy: Policy) -> None:
        owned = self._owned[policy.account_uin]
        for user, role in self._holders(owned, policy.policy_id):
            if user is not None:
                self.put_user(replace(user, policies=without(user.policies, policy.policy_id)))
            if role is not None:
                self.put_role(replace(role, policies=without(role.policies, policy.policy_id)))
        del owned.policies[policy.policy_id]
        del self.policies[policy.policy_id]

    def put_role(self, role: Role) -> None:
        self._owned[role.account_uin].roles[role.name] = role

    def drop_role(self, role: Role) -> None:
        del self._owned[role.account_uin].roles[role.name]

    def put_application(self, application: Application) -> None:
        self.applications[application.sdk_app_id] = application
        self._owned[application.account_uin].applications[application.sdk_app_id] = application

    def drop_application(self, application: Application) -> None:
        del self.applications[application.sdk_app_id]
        del self._owned[application.account_uin].applications[application.sdk_app_id]

    @staticmethod
    def _holders(owned: _Owned, policy_id: int) -> list[tuple[User | None, Role | None]]:
        users = [user for user in owned.users.values() if holds(user.policies, policy_id)]
        roles = [role for role in owned.roles.values() if holds(role.policies, policy_id)]
        return [*((user, None) for user in users), *((None, role) for role in roles)]


def holds(policies: Iterable[Policy], policy_id: int) -> bool:
    return any(policy.policy_id == policy_id for policy in policies)


def without(policies: Iterable[Policy], policy_id: int) -> tuple[Policy, ...]:
    return tuple(policy for policy in policies if policy.policy_id != policy_id)


def _exchanged(policies: Iterable[Policy], by: Policy) -> tuple[Policy, ...]:
    return tuple(by if policy.policy_id == by.policy_id else policy for policy in policies)
