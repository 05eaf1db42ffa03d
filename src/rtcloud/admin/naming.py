"""What the operator named, found: by number or, where only one thing has it, by name. Raises AdminError.

The names of accounts and of different accounts' users, policies and applications need not differ; numbers do.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, TypeVar

from rtcloud.accounts.entities import Account, Application, KeyPair, Policy, Role, User
from rtcloud.admin.command import AdminError, Flag, Site, Word

T = TypeVar("T")

AccountWord = Annotated[str | None, Word("ACCOUNT", "uin or name; may be left out when there is one account")]
AccountFlag = Annotated[str | None, Flag("ACCOUNT", "uin or name; needed only when there are several accounts")]
UserWord = Annotated[str, Word("USER", "uin or name of a user")]
ApplicationWord = Annotated[str, Word("SDKAPPID", "the application's SDKAppID or name")]
PolicyWord = Annotated[str, Word("POLICY", "id or name of a policy")]
SecretIdWord = Annotated[str, Word("SECRETID", "of the key pair")]


def account(site: Site, given: str | None) -> Account:
    accounts = site.accounts.accounts()
    if given is not None:
        return _one(given, accounts, "account", "uin", lambda a: a.uin, lambda a: a.name)
    if len(accounts) != 1:
        names = ", ".join(f"{each.uin} ({each.name})" for each in accounts[:10])
        raise AdminError(f"there are {len(accounts)} accounts, say which one: {names}")
    return accounts[0]


def account_uin(site: Site, given: str | None) -> str | None:
    """None, for every account, when none was named."""
    return None if given is None else account(site, given).uin


def user(site: Site, given: str, within: str | None = None) -> User:
    """``within``: of this account only."""
    return _one(given, site.accounts.users(within), "user", "uin", lambda u: u.uin, lambda u: u.name)


def application(site: Site, given: str) -> Application:
    found = site.accounts.applications()
    return _one(given, found, "application", "SDKAppID", lambda a: str(a.sdk_app_id), lambda a: a.name)


def policy(site: Site, given: str, within: str | None = None) -> Policy:
    """``within``: of this account (and presets) only."""
    owners = [within] if within else [each.uin for each in site.accounts.accounts()]
    found = {each.policy_id: each for owner in owners for each in site.accounts.policies(owner)}
    return _one(given, found.values(), "policy", "id", lambda p: str(p.policy_id), lambda p: p.name)


def role(site: Site, owner: Account, name: str) -> Role:
    found = site.accounts.role(owner.uin, name)
    if found is None:
        raise AdminError(f"account {owner.uin} has no role {name!r}")
    return found


def key_pair(site: Site, secret_id: str) -> KeyPair:
    found = site.accounts.key_pair(secret_id)
    if found is None:
        raise AdminError(f"there is no key pair {secret_id!r}")
    return found


def _one(
    given: str, things: Iterable[T], kind: str, number: str, number_of: Callable[[T], str], name_of: Callable[[T], str]
) -> T:
    candidates: Sequence[T] = list(things)
    for each in candidates:
        if number_of(each) == given:
            return each
    named = [each for each in candidates if name_of(each) == given]
    if len(named) == 1:
        return named[0]
    if not named:
        raise AdminError(f"there is no {kind} {given!r}")
    numbers = ", ".join(number_of(each) for each in named[:10])
    raise AdminError(f"{len(named)} are called {given!r}; give the {number}, one of {numbers}")
