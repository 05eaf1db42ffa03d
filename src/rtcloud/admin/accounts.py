"""``rtcloud admin accounts``: whose users and applications belong together, and from where they may call."""

from typing import Annotated, ClassVar

import msgspec

from rtcloud.accounts.entities import Account
from rtcloud.admin import naming
from rtcloud.admin.command import AdminError, Command, Flag, Site, Word, iso

Networks = tuple[str, ...] | None


def _row(account: Account) -> dict[str, object]:
    return {"uin": account.uin, "name": account.name, "created": iso(account.created_ms)}


class AccountsCreate(Command, tag="accounts.create", kw_only=True):
    """Make an account. It has nothing yet: give it a user and an application."""

    example: ClassVar[str] = "accounts create acme"
    name: Annotated[str, Word("NAME")]

    async def run(self, site: Site) -> object:
        return _row(await site.accounts.create_account(self.name))


class AccountsList(Command, tag="accounts.list", kw_only=True):
    """The accounts, the oldest first."""

    example: ClassVar[str] = "accounts list"

    async def run(self, site: Site) -> object:
        known = site.accounts
        return [
            {
                **_row(each),
                "users": len(known.users(each.uin)),
                "applications": len(known.applications(each.uin)),
            }
            for each in known.accounts()
        ]


class AccountsShow(Command, tag="accounts.show", kw_only=True):
    """One account: its users, its applications, and from where it may be called."""

    example: ClassVar[str] = "accounts show acme"
    account: naming.AccountWord = None

    async def run(self, site: Site) -> object:
        account = naming.account(site, self.account)
        return {
            **_row(account),
            "allowed_networks": account.settings.allowed_networks or "every network",
            "denied_networks": account.settings.denied_networks,
            "users": [{"uin": each.uin, "name": each.name} for each in site.accounts.users(account.uin)],
            "applications": [
                {"sdk_app_id": each.sdk_app_id, "name": each.name} for each in site.accounts.applications(account.uin)
            ],
        }


class AccountsSet(Command, tag="accounts.set", kw_only=True):
    """Rename an account, or say from which networks its users may call.

    A list that is given replaces the one before; `none` empties it. With allowed networks, calls from elsewhere are
    refused; calls from denied networks always are. This command never is, so a list that shuts you out can be mended
    here.
    """

    example: ClassVar[str] = "accounts set acme --allow-network 10.0.0.0/8,192.0.2.7 --deny-network none"
    account: naming.AccountWord = None
    name: Annotated[str | None, Flag("NAME", "its new name")] = None
    allow_network: Annotated[Networks, Flag("CIDR", "addresses or networks that alone may call; comma-separated")] = (
        None
    )
    deny_network: Annotated[Networks, Flag("CIDR", "addresses or networks that may not call; comma-separated")] = None

    async def run(self, site: Site) -> object:
        if self.changes_nothing("account"):
            raise AdminError("nothing to change: give --name, --allow-network or --deny-network")
        account = naming.account(site, self.account)
        settings = account.settings
        if self.allow_network is not None:
            settings = msgspec.structs.replace(settings, allowed_networks=self.allow_network)
        if self.deny_network is not None:
            settings = msgspec.structs.replace(settings, denied_networks=self.deny_network)
        await site.accounts.update_account(account.uin, name=self.name, settings=settings)
        return await AccountsShow(account=account.uin).run(site)


class AccountsDelete(Command, tag="accounts.delete", kw_only=True):
    """Delete an account that has no users and no applications, with its policies and roles.

    The first account cannot be deleted.
    """

    example: ClassVar[str] = "accounts delete acme"
    account: Annotated[str, Word("ACCOUNT", "uin or name")]

    async def run(self, site: Site) -> object:
        account = naming.account(site, self.account)
        await site.accounts.delete_account(account.uin)
        return {"deleted": account.uin, "name": account.name}


COMMANDS = (AccountsCreate, AccountsList, AccountsShow, AccountsSet, AccountsDelete)
