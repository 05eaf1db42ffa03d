"""``rtcloud admin roles``: what trusted users may become for a while, by AssumeRole or ``admin token --role``."""

from typing import Annotated, ClassVar

from rtcloud.accounts.entities import Role
from rtcloud.admin import naming
from rtcloud.admin.command import AdminError, Command, Flag, Site, Word, iso

EVERY_USER = "*"


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
    trust: Annotated[tuple[str, ...], Flag("USER", "who may become it: uins or names, comma-separated; * is everyone")]
    description: Annotated[str, Flag("TEXT", "what it is for")] = ""

    async def run(self, site: Site) -> object:
        owner = naming.account(site, self.account)
        trusted = []
        for each in self.trust:
            user = None if each == EVERY_USER else naming.user(site, each)
            if user is not None and user.account_uin != owner.uin:
                raise AdminError(f"{user.name} ({user.uin}) is a user of another account")
            trusted.append(each if user is None else user.uin)
        return _row(await site.accounts.create_role(owner.uin, self.name, tuple(trusted), self.description))


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


COMMANDS = (RolesCreate, RolesList, RolesShow, RolesDelete)
