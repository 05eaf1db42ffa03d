"""``rtcloud admin policies``: documents that say what users and roles may call, and to whom they are attached."""

import json
from typing import Annotated, Any, ClassVar

from rtcloud.accounts.entities import Account, Policy
from rtcloud.accounts.policies import ANY, application_resource, every_application
from rtcloud.admin import deciding, naming
from rtcloud.admin.command import AdminError, Command, Flag, Site, Word, iso
from rtcloud.admin.documents import read_document
from rtcloud.apimodel.model import Action, load_catalogue

DocumentFlag = Flag("FILE|-|JSON", "the document: a file, - for standard input, or the JSON itself", read_document)


def _row(policy: Policy) -> dict[str, object]:
    return {
        "id": policy.policy_id,
        "name": policy.name,
        "account": policy.account_uin or "preset",
        "description": policy.description,
    }


def _holders(site: Site, policy: Policy) -> list[str]:
    """Users and roles, those of every account for a preset."""
    known = site.accounts
    owners = [policy.account_uin] if policy.account_uin else [each.uin for each in known.accounts()]
    users = [f"user {u.name} ({u.uin})" for owner in owners for u in known.users(owner) if _holds(u.policies, policy)]
    roles = [f"role {r.name}" for owner in owners for r in known.roles(owner) if _holds(r.policies, policy)]
    return users + roles


def _holds(attached: tuple[Policy, ...], policy: Policy) -> bool:
    return any(each.policy_id == policy.policy_id for each in attached)


def _own(policy: Policy) -> Policy:
    if not policy.account_uin:
        raise AdminError(f"{policy.name} is a preset: it can be attached, not changed")
    return policy


class PoliciesCreate(Command, tag="policies.create", kw_only=True):
    """Make a policy of an account. It does nothing until it is attached."""

    example: ClassVar[str] = "policies create acme one-application --document policy.json"
    account: naming.AccountWord = None
    name: Annotated[str, Word("NAME")]
    document: Annotated[str, DocumentFlag]
    description: Annotated[str, Flag("TEXT", "what it is for")] = ""

    async def run(self, site: Site) -> object:
        owner = naming.account(site, self.account)
        return _row(await site.accounts.create_policy(owner.uin, self.name, self.document, self.description))


class PoliciesList(Command, tag="policies.list", kw_only=True):
    """The presets, and the policies of every account or of one."""

    example: ClassVar[str] = "policies list"
    account: naming.AccountWord = None

    async def run(self, site: Site) -> object:
        one = naming.account_uin(site, self.account)
        owners = [one] if one else [each.uin for each in site.accounts.accounts()]
        found = {each.policy_id: each for owner in owners for each in site.accounts.policies(owner)}
        return [{**_row(each), "attached": len(_holders(site, each))} for each in found.values()]


class PoliciesShow(Command, tag="policies.show", kw_only=True):
    """One policy: its document, and to whom it is attached."""

    example: ClassVar[str] = "policies show QcloudTRTCReadonlyAccess"
    policy: naming.PolicyWord
    account: naming.AccountFlag = None

    async def run(self, site: Site) -> object:
        policy = naming.policy(site, self.policy, naming.account_uin(site, self.account))
        created = {"created": iso(policy.created_ms)} if policy.account_uin else {}
        return {
            **_row(policy),
            **created,
            "attached_to": _holders(site, policy),
            "document": json.loads(policy.document.text),
        }


class PoliciesUpdate(Command, tag="policies.update", kw_only=True):
    """Replace a policy's document or description; calls are judged by it from the next one on."""

    example: ClassVar[str] = "policies update one-application --document policy.json"
    policy: naming.PolicyWord
    document: Annotated[str | None, DocumentFlag] = None
    description: Annotated[str | None, Flag("TEXT", "what it is for")] = None
    account: naming.AccountFlag = None

    async def run(self, site: Site) -> object:
        policy = _own(naming.policy(site, self.policy, naming.account_uin(site, self.account)))
        if self.changes_nothing("policy", "account"):
            raise AdminError("nothing to change: give --document or --description")
        return _row(
            await site.accounts.update_policy(
                policy.policy_id,
                account_uin=policy.account_uin,
                document_text=self.document,
                description=self.description,
            )
        )


class PoliciesDelete(Command, tag="policies.delete", kw_only=True):
    """Delete a policy; those who had it lose what it gave, and what it denied."""

    example: ClassVar[str] = "policies delete one-application"
    policy: naming.PolicyWord
    account: naming.AccountFlag = None

    async def run(self, site: Site) -> object:
        policy = _own(naming.policy(site, self.policy, naming.account_uin(site, self.account)))
        await site.accounts.delete_policy(policy.policy_id, account_uin=policy.account_uin)
        return {"deleted": policy.policy_id, "name": policy.name}


class _Attachment(Command, kw_only=True):
    policy: naming.PolicyWord
    user: Annotated[str | None, Flag("USER", "uin or name of the user")] = None
    role: Annotated[str | None, Flag("ROLE", "name of the role")] = None
    account: naming.AccountFlag = None

    def found(self, site: Site) -> tuple[Account, Policy, dict[str, str]]:
        """The account, the policy, and whom it is about as the store's arguments."""
        if (self.user is None) == (self.role is None):
            raise AdminError("give either --user or --role")
        if self.user is not None:
            user = naming.user(site, self.user)
            owner, whom = naming.account(site, user.account_uin), {"user_uin": user.uin}
        else:
            owner, whom = naming.account(site, self.account), {"role": str(self.role)}
            naming.role(site, owner, str(self.role))
        return owner, naming.policy(site, self.policy, owner.uin), whom

    def now(self, site: Site, owner: Account) -> dict[str, object]:
        holder = naming.user(site, self.user) if self.user is not None else naming.role(site, owner, str(self.role))
        kind = "user" if self.user is not None else "role"
        return {kind: holder.name, "policies": [each.name for each in holder.policies]}


class PoliciesAttach(_Attachment, tag="policies.attach", kw_only=True):
    """Give a policy to a user or a role."""

    example: ClassVar[str] = "policies attach one-application --user ops"

    async def run(self, site: Site) -> object:
        owner, policy, whom = self.found(site)
        await site.accounts.attach_policy(owner.uin, policy.policy_id, **whom)
        return self.now(site, owner)


class PoliciesDetach(_Attachment, tag="policies.detach", kw_only=True):
    """Take a policy from a user or a role."""

    example: ClassVar[str] = "policies detach one-application --user ops"

    async def run(self, site: Site) -> object:
        owner, policy, whom = self.found(site)
        await site.accounts.detach_policy(owner.uin, policy.policy_id, **whom)
        return self.now(site, owner)


class PoliciesCheck(Command, tag="policies.check", kw_only=True):
    """Whether a user's policies let it call an action, and which statement decides. The exit status is 1 if not.

    Without an application, an action that concerns one is asked for all of the account's at once.
    """

    example: ClassVar[str] = "policies check ops RemoveUser 1400000001"
    user: naming.UserWord
    action: Annotated[str, Word("ACTION", "such as RemoveUser or name/trtc:RemoveUser")]
    application: Annotated[str | None, Word("SDKAPPID", "the application it is about, if it is about one")] = None

    async def run(self, site: Site) -> object:
        user = naming.user(site, self.user)
        try:
            action = deciding.find_action(load_catalogue(), self.action)
        except deciding.UnknownActionError as error:
            raise AdminError(str(error)) from error
        resource = self._resource(site, action, user.account_uin)
        verdict = deciding.decide(user.policies, action, resource)
        return {
            "user": user.name,
            "action": action.full_name,
            "resource": resource,
            "allowed": verdict.allowed,
            "because": deciding.explain(verdict, action, resource),
        }

    def _resource(self, site: Site, action: Action, account_uin: str) -> str:
        if action.scope == "none":
            return ANY
        if self.application is None:
            return every_application(account_uin)
        application = naming.application(site, self.application)
        if application.account_uin != account_uin:
            raise AdminError(f"{application.sdk_app_id} is another account's application: its users cannot be let in")
        return application_resource(account_uin, application.sdk_app_id)

    @staticmethod
    def exit_status(result: Any) -> int:
        return 0 if result["allowed"] else 1


COMMANDS = (
    PoliciesCreate,
    PoliciesList,
    PoliciesShow,
    PoliciesUpdate,
    PoliciesDelete,
    PoliciesAttach,
    PoliciesDetach,
    PoliciesCheck,
)
