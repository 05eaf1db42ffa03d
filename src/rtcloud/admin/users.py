"""``rtcloud admin users``: who may hold key pairs, what they may do, and temporary credentials for them."""

from typing import Annotated, ClassVar

from rtcloud.accounts.entities import KeyPair, User
from rtcloud.accounts.names import known_actions
from rtcloud.accounts.policies import parse_document
from rtcloud.accounts.sessions import caller_of
from rtcloud.admin import naming
from rtcloud.admin.command import AdminError, Command, Flag, Site, Word, iso
from rtcloud.admin.documents import read_document

DEFAULT_DURATION_S = 1800
MAX_DURATION_S = 129_600  # as long as GetFederationToken gives
MAX_ROLE_DURATION_S = 43_200  # and AssumeRole


def _row(user: User) -> dict[str, object]:
    return {
        "uin": user.uin,
        "name": user.name,
        "account": user.account_uin,
        "policies": [each.name for each in user.policies],
        "created": iso(user.created_ms),
    }


class UsersCreate(Command, tag="users.create", kw_only=True):
    """Make a user of an account. It may do nothing before a policy is attached, and calls with a key pair."""

    example: ClassVar[str] = "users create acme ops"
    account: naming.AccountWord = None
    name: Annotated[str, Word("NAME")]

    async def run(self, site: Site) -> object:
        owner = naming.account(site, self.account)
        return _row(await site.accounts.create_user(owner.uin, self.name))


class UsersList(Command, tag="users.list", kw_only=True):
    """The users, of every account or of one."""

    example: ClassVar[str] = "users list"
    account: naming.AccountWord = None

    async def run(self, site: Site) -> object:
        known = site.accounts
        return [
            {**_row(each), "keys": len(known.key_pairs(each.uin))}
            for each in known.users(naming.account_uin(site, self.account))
        ]


class UsersShow(Command, tag="users.show", kw_only=True):
    """One user, with its policies and key pairs."""

    example: ClassVar[str] = "users show ops"
    user: naming.UserWord

    async def run(self, site: Site) -> object:
        user = naming.user(site, self.user)
        return {
            **_row(user),
            "policies": [{"id": each.policy_id, "name": each.name} for each in user.policies],
            "keys": [_key_row(each) for each in site.accounts.key_pairs(user.uin)],
        }


class UsersDelete(Command, tag="users.delete", kw_only=True):
    """Delete a user, its key pairs and temporary credentials with it."""

    example: ClassVar[str] = "users delete ops"
    user: naming.UserWord

    async def run(self, site: Site) -> object:
        user = naming.user(site, self.user)
        await site.accounts.delete_user(user.uin)
        return {"deleted": user.uin, "name": user.name}


class Token(Command, tag="token", kw_only=True):
    """Temporary credentials of a user: SecretId, SecretKey and token, good for a while.

    They may do what the user may; with a policy, only what it allows as well; with a role that trusts the user, what
    the role may. They end early when the user's key pair, the user or the role does.
    """

    example: ClassVar[str] = "token ops --duration 3600"
    user: naming.UserWord
    duration: Annotated[
        int, Flag("SECONDS", f"how long they are good, up to {MAX_DURATION_S}; of a role {MAX_ROLE_DURATION_S}")
    ] = DEFAULT_DURATION_S
    role: Annotated[str | None, Flag("ROLE", "become this role of the user's account")] = None
    policy: Annotated[str | None, Flag("FILE", "narrow them by this policy document", read_document)] = None

    async def run(self, site: Site) -> object:
        longest = MAX_DURATION_S if self.role is None else MAX_ROLE_DURATION_S
        if not 1 <= self.duration <= longest:
            raise AdminError(f"duration: 1 to {longest} seconds")
        user, now_ms = naming.user(site, self.user), site.clock.now_ms()
        pair = next((each for each in site.accounts.key_pairs(user.uin) if each.enabled), None)
        if pair is None:
            raise AdminError(f"{user.name}: has no key pair that is enabled; `rtcloud admin keys create {user.uin}`")
        caller = caller_of(pair)
        policy = None
        if self.policy is not None:
            policy = parse_document(self.policy, account_uin=user.account_uin, known_actions=known_actions())
        if self.role is None:
            made = site.sessions.federate(
                caller, name=user.name, policy=policy, duration_s=self.duration, now_ms=now_ms
            )
        else:
            owner = naming.account(site, user.account_uin)
            role = naming.role(site, owner, self.role)
            if not role.trusts(user.uin):
                raise AdminError(f"role {role.name} does not trust {user.name}")
            made = site.sessions.assume(
                caller, role, session_name=user.name, policy=policy, duration_s=self.duration, now_ms=now_ms
            )
        return {
            "secret_id": made.secret_id,
            "secret_key": made.secret_key,
            "token": made.token,
            "expires": iso(made.expires_ms),
        }


def _key_row(pair: KeyPair) -> dict[str, object]:
    return {"secret_id": pair.secret_id, "enabled": pair.enabled, "created": iso(pair.created_ms)}


COMMANDS = (UsersCreate, UsersList, UsersShow, UsersDelete, Token)
