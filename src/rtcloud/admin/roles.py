"""``rtcloud admin roles``: what trusted users may become for a while, by AssumeRole or ``admin token --role``."""

from collections.abc import Iterable
from typing import Annotated, ClassVar

from rtcloud.accounts.entities import EVERYBODY, Account, Role
from rtcloud.admin import naming
from rtcloud.admin.command import AdminError, Command, Flag, Site, Word, iso

TRUST = "who may become it: uins or names, comma-separated; * is every user of the account"


def _row(role: Role) -> dict[str, object]:
    return {
        "name": role.name,
        "account": role.account_uin,
        "trusted": role.trusted,
        "policies": [each.name for each in role.policies],
        "description": role.description,
        "created": iso(role.created_ms),
    }


class RolesCreate(Command, tag="roles.create", kw_only=True):
    """Make a role of an account. It may do nothing until a policy is attached."""

    example: ClassVar[str] = "roles create acme auditor --trust ops"
    account: naming.AccountWord = None
    name: Annotated[str, Word("NAME")]
    trust: Annotated[tuple[str, ...], Flag("USER", TRUST)]
    description: Annotated[str, Flag("TEXT", "what it is for")] = ""

    async def run(self, site: Site) -> object:
        owner = naming.account(site, self.account)
        trusted = _trusted(site, owner, self.trust)
        return _row(await site.accounts.create_role(owner.uin, self.name, trusted, self.description))


class RolesList(Command, tag="roles.list", kw_only=True):
    """The roles, of every account or of one."""

    example: ClassVar[str] = "roles list"
    account: naming.AccountWord = None

    async def run(self, site: Site) -> object:
        one = naming.account_uin(site, self.account)
        owners = [one] if one else [each.uin for each in site.accounts.accounts()]
        return [_row(each) for owner in owners for each in site.accounts.roles(owner)]


class RolesShow(Command, tag="roles.show", kw_only=True):
    """One role, with the name that AssumeRole knows it by."""

    example: ClassVar[str] = "roles show acme auditor"
    account: naming.AccountWord = None
    name: Annotated[str, Word("NAME")]

    async def run(self, site: Site) -> object:
        owner = naming.account(site, self.account)
        role = naming.role(site, owner, self.name)
        return {**_row(role), "arn": f"qcs::cam::uin/{owner.uin}:roleName/{role.name}"}


class RolesSet(Command, tag="roles.set", kw_only=True):
    """Say anew who may become a role, or what it is for.

    The users that are given replace those before. Who is trusted no more loses the temporary credentials of the role.
    """

    example: ClassVar[str] = "roles set auditor --trust ops,dev"
    account: naming.AccountWord = None
    name: Annotated[str, Word("NAME")]
    trust: Annotated[tuple[str, ...] | None, Flag("USER", TRUST)] = None
    description: Annotated[str | None, Flag("TEXT", "what it is for")] = None

    async def run(self, site: Site) -> object:
        if self.changes_nothing("account", "name"):
            raise AdminError("nothing to change: give --trust or --description")
        owner = naming.account(site, self.account)
        role = naming.role(site, owner, self.name)
        trusted = None if self.trust is None else _trusted(site, owner, self.trust)
        return _row(
            await site.accounts.update_role(owner.uin, role.name, trusted=trusted, description=self.description)
        )


class RolesDelete(Command, tag="roles.delete", kw_only=True):
    """Delete a role; the temporary credentials of it end."""

    example: ClassVar[str] = "roles delete auditor"
    account: naming.AccountWord = None
    name: Annotated[str, Word("NAME")]

    async def run(self, site: Site) -> object:
        owner = naming.account(site, self.account)
        naming.role(site, owner, self.name)
        await site.accounts.delete_role(owner.uin, self.name)
        return {"deleted": self.name, "account": owner.uin}


def _trusted(site: Site, owner: Account, given: Iterable[str]) -> tuple[str, ...]:
    trusted = []
    for each in given:
        user = None if each == EVERYBODY else naming.user(site, each, within=owner.uin)
        trusted.append(each if user is None else user.uin)
    return tuple(trusted)


COMMANDS = (RolesCreate, RolesList, RolesShow, RolesSet, RolesDelete)
