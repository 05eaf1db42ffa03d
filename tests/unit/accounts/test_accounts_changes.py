"""Every change of the accounts: what it does, what it refuses, and that memory shows what the rows hold."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, Table, func, insert, select

from rtcloud.accounts import identities, permissions
from rtcloud.accounts.entities import (
    AccountsError,
    AccountSettings,
    ApplicationSettings,
    AutoRecording,
)
from rtcloud.accounts.policies import PolicyError
from rtcloud.accounts.store import Accounts
from rtcloud.store import tables
from rtcloud.store.database import Database, open_database
from rtcloud.store.sealing import Sealer
from tests.kit.clock import StillClock

SEALER = Sealer(bytes(range(32)))
ALLOW = '{"version":"2.0","statement":{"effect":"allow","action":"trtc:*","resource":"*"}}'
DENY = '{"version":"2.0","statement":{"effect":"deny","action":"trtc:RemoveUser","resource":"*"}}'


CLOCK = StillClock()


def run(scenario: Callable[[Accounts, Database], Coroutine[Any, Any, None]]) -> None:
    async def opened() -> None:
        database = open_database(None)
        try:
            accounts = await Accounts.load(database, SEALER, CLOCK)
            await accounts.ensure_first(CLOCK.now_ms())
            await scenario(accounts, database)
            assert snapshot(await Accounts.load(database, SEALER, CLOCK)) == snapshot(accounts)
        finally:
            await database.close()

    asyncio.run(opened())


def snapshot(accounts: Accounts) -> dict[str, object]:
    """Everything that can be asked, in its order."""
    uins = [account.uin for account in accounts.accounts()]
    return {
        "accounts": accounts.accounts(),
        "users": [accounts.users(uin) for uin in uins],
        "all users": {user.uin: user for user in accounts.users()},
        "pairs": [accounts.key_pairs(user.uin) for uin in uins for user in accounts.users(uin)],
        "all pairs": {pair.secret_id: pair for pair in accounts.key_pairs()},
        "policies": [accounts.policies(uin) for uin in uins],
        "roles": [accounts.roles(uin) for uin in uins],
        "applications": [accounts.applications(uin) for uin in uins],
        "all applications": {application.sdk_app_id: application for application in accounts.applications()},
    }


def counting(table: Table) -> Callable[[Connection], int]:
    return lambda connection: connection.execute(select(func.count()).select_from(table)).scalar_one()


async def refused(change: Awaitable[object], kind: str, subject: str) -> str:
    with pytest.raises(AccountsError) as caught:
        await change
    assert (caught.value.kind, caught.value.subject) == (kind, subject)
    return str(caught.value)


def test_an_account_with_its_users_and_keys() -> None:
    async def scenario(accounts: Accounts, database: Database) -> None:
        account = await accounts.create_account("Ärzte GmbH")
        assert accounts.account(account.uin) == account
        user = await accounts.create_user(account.uin, "alice")
        assert accounts.users(account.uin) == [user]
        assert user.policies == ()
        first, second = await accounts.create_key_pair(user.uin), await accounts.create_key_pair(user.uin)
        assert accounts.key_pairs(user.uin) == [first, second]
        assert "already has 2" in await refused(accounts.create_key_pair(user.uin), "limit", "key")
        await accounts.enable_key_pair(first.secret_id, False)
        assert accounts.key_pair(first.secret_id) == await accounts.enable_key_pair(first.secret_id, False)
        assert "already has 2" in await refused(accounts.create_key_pair(user.uin), "limit", "key")
        await accounts.delete_key_pair(first.secret_id)
        assert accounts.key_pair(first.secret_id) is None
        await refused(accounts.delete_key_pair(first.secret_id), "not_found", "key")
        await refused(accounts.enable_key_pair(first.secret_id, True), "not_found", "key")
        await accounts.attach_policy(account.uin, 1, user_uin=user.uin)
        other = await accounts.create_user(account.uin, "other")
        await accounts.create_role(account.uin, "both", [user.uin, other.uin])
        await accounts.create_role(account.uin, "alone", [user.uin])
        await accounts.delete_user(user.uin)
        assert [role.trusted for role in accounts.roles(account.uin)] == [(other.uin,), ()]
        assert accounts.key_pair(second.secret_id) is None
        assert accounts.user(user.uin) is None
        await refused(accounts.delete_user(user.uin), "not_found", "user")
        await refused(accounts.create_key_pair(user.uin), "not_found", "user")

    run(scenario)


def test_names_are_checked() -> None:
    async def scenario(accounts: Accounts, database: Database) -> None:
        account, app = accounts.accounts()[0].uin, accounts.applications()[0].sdk_app_id
        for name in ("", " x", "x" * 65, "a\nb"):
            await refused(accounts.create_account(name), "invalid", "account")
            await refused(accounts.update_account(account, name=name), "invalid", "account")
            await refused(accounts.create_application(account, name), "invalid", "application")
            await refused(accounts.update_application(app, name=name), "invalid", "application")
            await refused(accounts.create_user(account, name), "invalid", "user")
        for name in ("", "a b", "x" * 129, "ä", "a/b"):
            await refused(accounts.create_policy(account, name, ALLOW), "invalid", "policy")
            await refused(accounts.create_role(account, name, ["*"]), "invalid", "role")
        await refused(accounts.create_policy(account, "p", ALLOW, "x" * 301), "invalid", "policy")
        await refused(accounts.create_user(account, "administrator"), "in_use", "user")
        await refused(accounts.create_user("1", "alice"), "not_found", "account")
        await refused(accounts.create_application("1", "x"), "not_found", "account")

    run(scenario)


def test_quotas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identities, "USERS_PER_ACCOUNT", 2)
    monkeypatch.setattr(permissions, "POLICIES_PER_ACCOUNT", 2)
    monkeypatch.setattr(permissions, "ATTACHED_POLICIES", 3)

    async def scenario(accounts: Accounts, database: Database) -> None:
        account, user = accounts.accounts()[0].uin, accounts.users()[0].uin
        await accounts.create_user(account, "second")
        await refused(accounts.create_user(account, "third"), "limit", "user")
        made = [await accounts.create_policy(account, name, ALLOW) for name in "ab"]
        await refused(accounts.create_policy(account, "c", ALLOW), "limit", "policy")
        await accounts.attach_policy(account, made[0].policy_id, user_uin=user)  # its third
        await refused(accounts.attach_policy(account, made[1].policy_id, user_uin=user), "limit", "policy")
        await accounts.attach_policy(account, made[0].policy_id, user_uin=user)
        for _ in range(99):
            await accounts.create_application(account, "x")
        await refused(accounts.create_application(account, "x"), "limit", "application")

    run(scenario)


def test_networks_are_checked() -> None:
    async def scenario(accounts: Accounts, database: Database) -> None:
        uin = accounts.accounts()[0].uin
        settings = AccountSettings(allowed_networks=("192.0.2.0/24", "2001:db8::/32"), denied_networks=("192.0.2.7",))
        assert (await accounts.update_account(uin, settings=settings)).settings == settings
        assert (await accounts.update_account(uin, name="renamed")).settings == settings
        for bad in ("192.0.2.1/24", "example.com", "1.2.3.4/33", ""):
            await refused(
                accounts.update_account(uin, settings=AccountSettings(denied_networks=(bad,))), "invalid", "account"
            )
        await refused(
            accounts.update_account(uin, settings=AccountSettings(allowed_networks=("::1",) * 101)), "limit", "account"
        )
        await refused(accounts.update_account("1", name="x"), "not_found", "account")

    run(scenario)


def test_a_policy_reaches_whoever_has_it_at_once() -> None:
    async def scenario(accounts: Accounts, database: Database) -> None:
        account, user = accounts.accounts()[0].uin, accounts.users()[0].uin
        role = await accounts.create_role(account, "recorder", [user], "records")
        policy = await accounts.create_policy(account, "ops", ALLOW, "all of it")
        assert policy.policy_id == 1001
        for _ in range(2):
            await accounts.attach_policy(account, policy.policy_id, user_uin=user)
            await accounts.attach_policy(account, policy.policy_id, role=role.name)
        pair = accounts.key_pairs(user)[0]
        assert [each.name for each in pair.user.policies] == ["QcloudTRTCFullAccess", "AdministratorAccess", "ops"]
        changed = await accounts.update_policy(policy.policy_id, account_uin=account, document_text=DENY)
        assert changed.description == "all of it"
        assert changed.document.statements[0].effect == "deny"
        for holder in (accounts.key_pairs(user)[0].user, accounts.user(user), accounts.role(account, "recorder")):
            assert holder is not None
            assert holder.policies[-1] == changed
        await accounts.detach_policy(account, policy.policy_id, user_uin=user)
        await accounts.detach_policy(account, policy.policy_id, user_uin=user)
        assert len(accounts.key_pairs(user)[0].user.policies) == 2
        await accounts.delete_policy(policy.policy_id, account_uin=account)
        again = await accounts.create_policy(account, "ops", DENY)
        assert again.policy_id == 1002  # an id is never another policy's
        for found in accounts.roles(account):
            assert found.policies == ()
        await accounts.detach_policy(account, 1, user_uin=user)
        await accounts.delete_role(account, "recorder")
        assert accounts.role(account, "recorder") is None

    run(scenario)


def test_refusals_of_policies_and_roles() -> None:
    async def scenario(accounts: Accounts, database: Database) -> None:
        account, user = accounts.accounts()[0].uin, accounts.users()[0].uin
        other = await accounts.create_account("other")
        policy = await accounts.create_policy(account, "ops", ALLOW)
        own = policy.policy_id
        await refused(accounts.create_policy(account, "ops", ALLOW), "in_use", "policy")
        await refused(accounts.create_policy(account, "QcloudTRTCFullAccess", ALLOW), "in_use", "policy")
        await refused(accounts.create_policy("1", "ops", ALLOW), "not_found", "account")
        with pytest.raises(AccountsError, match="no action 'Nothing' of trtc") as caught:
            await accounts.create_policy(account, "x", ALLOW.replace("trtc:*", "trtc:Nothing"))
        assert isinstance(caught.value.__cause__, PolicyError)
        assert caught.value.__cause__.part == "action"
        await refused(accounts.update_policy(own, account_uin=account, document_text="{}"), "invalid", "policy")
        await refused(accounts.update_policy(1, account_uin=account, description="x"), "invalid", "policy")
        await refused(accounts.delete_policy(1, account_uin=account), "invalid", "policy")
        for change in (
            accounts.update_policy(own, account_uin=other.uin, description="x"),
            accounts.delete_policy(own, account_uin=other.uin),
            accounts.delete_policy(999, account_uin=account),
            accounts.attach_policy(account, 999, user_uin=user),
            accounts.attach_policy(other.uin, own, user_uin=user),
        ):
            await refused(change, "not_found", "policy")
        await refused(accounts.attach_policy(other.uin, 1, user_uin=user), "not_found", "user")
        await refused(accounts.attach_policy(account, own, role="nobody"), "not_found", "role")
        await refused(accounts.attach_policy(account, own), "invalid", "policy")
        await refused(accounts.attach_policy(account, own, user_uin=user, role="x"), "invalid", "policy")
        await refused(accounts.detach_policy(account, own, user_uin="1"), "not_found", "user")
        await accounts.create_role(account, "r", ["*"])
        await refused(accounts.create_role(account, "r", ["*"]), "in_use", "role")
        await refused(accounts.create_role(account, "s", []), "invalid", "role")
        await refused(accounts.create_role(other.uin, "s", [user]), "invalid", "role")
        await refused(accounts.delete_role(other.uin, "r"), "not_found", "role")

    run(scenario)


def test_the_previous_sdk_secret_key_is_good_for_a_while() -> None:
    async def scenario(accounts: Accounts, database: Database) -> None:
        app = accounts.applications()[0].sdk_app_id
        (old,) = accounts.sdk_secret_keys(app)
        rotated = await accounts.rotate_application_key(app, keep_previous_s=60)
        assert accounts.sdk_secret_keys(app) == (rotated.secret_key, old)
        assert old not in repr(rotated)
        assert accounts.credentials("").sdk_secret_key == rotated.secret_key
        began = CLOCK.ms
        CLOCK.ms = began + 60_000
        assert accounts.sdk_secret_keys(app) == (rotated.secret_key,)
        CLOCK.ms = began + 59_999
        assert len(accounts.sdk_secret_keys(app)) == 2
        await accounts.forget_previous_key(app)
        assert accounts.sdk_secret_keys(app) == (rotated.secret_key,)
        twice = await accounts.rotate_application_key(app, keep_previous_s=60)
        assert accounts.sdk_secret_keys(app) == (twice.secret_key, rotated.secret_key)
        leaked = await accounts.rotate_application_key(app, keep_previous_s=0)
        assert accounts.sdk_secret_keys(app) == (leaked.secret_key,)
        CLOCK.ms = began
        await refused(accounts.rotate_application_key(app, keep_previous_s=-1), "invalid", "application")
        await refused(accounts.rotate_application_key(app, keep_previous_s=10**9), "invalid", "application")
        await refused(accounts.rotate_application_key(5, keep_previous_s=1), "not_found", "application")
        assert accounts.sdk_secret_keys(5) == ()

    run(scenario)


def test_automatic_recording_knows_when_it_was_turned_on() -> None:
    """Rooms that are older are left alone."""

    async def scenario(accounts: Accounts, database: Database) -> None:
        app, began = accounts.applications()[0].sdk_app_id, CLOCK.ms

        async def since(setting: AutoRecording | None) -> int:
            changed = await accounts.update_application(app, settings=ApplicationSettings(auto_recording=setting))
            auto = changed.settings.auto_recording
            return auto.since_ms if auto is not None else -1

        try:
            assert await since(AutoRecording(since_ms=5)) == began
            CLOCK.ms += 1000
            assert await since(AutoRecording(wait_s=60)) == began
            assert await since(None) == -1
            assert await since(AutoRecording()) == began + 1000
        finally:
            CLOCK.ms = began
        bad = ApplicationSettings(auto_recording=AutoRecording(bucket="a/b"))
        await refused(accounts.update_application(app, settings=bad), "invalid", "application")

    run(scenario)


def test_automatic_recording_of_before_it_had_more_members_still_loads() -> None:
    stored = b'{"auto_recording":{"mode":"single","format":"aac","wait_s":5}}'
    auto = msgspec.json.decode(stored, type=ApplicationSettings).auto_recording
    assert auto == AutoRecording(mode="single", format="aac", wait_s=5)
    assert (auto.recorded, auto.bucket, auto.since_ms) == ("audio", "", 0)


def test_an_application_is_changed_and_deleted_with_what_belongs_to_it() -> None:
    async def scenario(accounts: Accounts, database: Database) -> None:
        first = accounts.applications()[0]
        account = first.account_uin
        await refused(accounts.delete_application(first.sdk_app_id), "in_use", "application")
        settings = ApplicationSettings(
            scenes=("live",), permission_control=True, auto_recording=AutoRecording(since_ms=CLOCK.ms)
        )
        made = await accounts.create_application(account, "second", settings)
        assert accounts.application(made.sdk_app_id) == made
        renamed = await accounts.update_application(made.sdk_app_id, name="2nd")
        assert (renamed.name, renamed.settings, renamed.secret_key) == ("2nd", settings, made.secret_key)
        await accounts.update_application(made.sdk_app_id, settings=ApplicationSettings())
        for bad in (ApplicationSettings(scenes=()), ApplicationSettings(concurrent_recordings=-1)):
            await refused(accounts.update_application(made.sdk_app_id, settings=bad), "invalid", "application")
            await refused(accounts.create_application(account, "x", bad), "invalid", "application")
        await accounts.set_callbacks(made.sdk_app_id, url="http://example.com/a")
        mark = {"id": "WM_1", "sdk_app_id": made.sdk_app_id, "format": "png", "width": 1, "height": 1}
        times = {"created_ms": 1, "updated_ms": 1}
        await database.write(lambda c: c.execute(insert(tables.watermarks).values(**mark, **times, content=b"x")))
        await accounts.delete_application(made.sdk_app_id)
        assert accounts.applications() == [first]
        await refused(accounts.delete_application(made.sdk_app_id), "not_found", "application")
        await refused(accounts.update_application(made.sdk_app_id, name="x"), "not_found", "application")
        for table in (tables.watermarks, tables.callback_targets):
            assert await database.read(counting(table)) == 0

    run(scenario)


def test_the_credentials_file_is_the_first_users_whatever_becomes_of_them() -> None:
    async def scenario(accounts: Accounts, database: Database) -> None:
        first = accounts.credentials("")
        other = await accounts.create_user(first.account_uin, "other")
        await accounts.create_key_pair(other.uin)
        await accounts.enable_key_pair(first.secret_id, False)
        assert accounts.credentials("").secret_id == ""
        user = accounts.users()[0]
        second = await accounts.create_key_pair(user.uin)
        assert accounts.credentials("").secret_id == second.secret_id
        await accounts.delete_key_pair(first.secret_id)
        await accounts.delete_key_pair(second.secret_id)
        assert accounts.credentials("").secret_key == ""
        assert accounts.credentials("").sdk_app_id == first.sdk_app_id

    run(scenario)


def test_an_account_is_deleted_with_its_policies_and_roles() -> None:
    async def scenario(accounts: Accounts, database: Database) -> None:
        first = accounts.accounts()[0].uin
        made = await accounts.create_account("other")
        user = await accounts.create_user(made.uin, "u")
        policy = await accounts.create_policy(made.uin, "p", ALLOW)
        await accounts.create_role(made.uin, "r", [user.uin])
        for policy_id in (policy.policy_id, 1):
            await accounts.attach_policy(made.uin, policy_id, role="r")
        await accounts.attach_policy(made.uin, policy.policy_id, user_uin=user.uin)
        await refused(accounts.delete_account(made.uin), "in_use", "account")
        await accounts.delete_user(user.uin)
        application = await accounts.create_application(made.uin, "a")
        await refused(accounts.delete_account(made.uin), "in_use", "account")
        await accounts.delete_application(application.sdk_app_id)
        counted = [tables.policies, tables.roles, tables.policy_attachments]
        await accounts.delete_account(made.uin)
        assert accounts.account(made.uin) is None
        assert accounts.policy(policy.policy_id) is None
        assert [await database.read(counting(table)) for table in counted] == [0, 0, 2]  # the first user's presets
        await refused(accounts.delete_account(made.uin), "not_found", "account")
        await refused(accounts.delete_account(first), "in_use", "account")
        await refused(accounts.delete_application(accounts.applications()[0].sdk_app_id), "in_use", "application")

    run(scenario)


def test_a_role_is_changed() -> None:
    async def scenario(accounts: Accounts, database: Database) -> None:
        account = accounts.accounts()[0].uin
        user = (await accounts.create_user(account, "u")).uin
        made = await accounts.create_role(account, "r", ["*"], "before")
        await accounts.attach_policy(account, 1, role="r")
        role = await accounts.update_role(account, "r", trusted=[user, user])
        assert (role.trusted, role.description, role.created_ms) == ((user,), "before", made.created_ms)
        role = await accounts.update_role(account, "r", description="after")
        assert (role.trusted, role.description) == ((user,), "after")
        assert [policy.policy_id for policy in role.policies] == [1]
        await refused(accounts.update_role(account, "r", trusted=[]), "invalid", "role")
        await refused(accounts.update_role(account, "r", trusted=["100000000001"]), "invalid", "role")
        await refused(accounts.update_role(account, "r", description="x" * 301), "invalid", "role")
        await refused(accounts.update_role(account, "s", description=""), "not_found", "role")
        assert accounts.role(account, "r") == role

    run(scenario)


def test_a_change_that_cannot_be_written_does_not_show() -> None:
    async def scenario(accounts: Accounts, database: Database) -> None:
        before = snapshot(accounts)
        account = accounts.accounts()[0].uin
        await database.write(  # as if another process had
            lambda c: c.execute(insert(tables.roles).values(account_uin=account, name="r", trusted="[]", created_ms=1))
        )
        with pytest.raises(Exception, match="UNIQUE"):
            await accounts.create_role(account, "r", ["*"])
        assert snapshot(accounts) == before
        await accounts.reload()

    run(scenario)


def test_a_change_nobody_waits_for_is_finished() -> None:
    async def scenario(accounts: Accounts, database: Database) -> None:
        waiting = asyncio.ensure_future(accounts.create_account("abandoned"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await accounts.create_account("next")  # changes go one at a time
        assert [account.name for account in accounts.accounts()] == ["default", "abandoned", "next"]

    run(scenario)


def test_memory_shows_what_the_rows_hold_after_any_changes() -> None:
    """``run`` compares at the end; here after a few hundred changes, the refused ones among them."""

    async def scenario(accounts: Accounts, database: Database) -> None:
        chance = random.Random(7)
        for step in range(400):
            await _change(accounts, chance, step)
            if step % 50 == 0:
                assert snapshot(await Accounts.load(database, SEALER, CLOCK)) == snapshot(accounts)

    run(scenario)


async def _change(accounts: Accounts, chance: random.Random, step: int) -> None:
    account = chance.choice(accounts.accounts()).uin
    user = chance.choice([*(user.uin for user in accounts.users()), "1"])
    policy = chance.choice([1, 2, 3, *(each.policy_id for each in accounts.policies(account)[3:])])
    role = chance.choice([*(role.name for role in accounts.roles(account)), "none"])
    application = chance.choice(accounts.applications()).sdk_app_id
    pair = chance.choice([*accounts.key_pairs(), None])
    secret_id = pair.secret_id if pair else "none"
    changes: list[Callable[[], Awaitable[object]]] = [
        lambda: accounts.create_account(f"a{step}"),
        lambda: accounts.create_user(account, f"u{step}"),
        lambda: accounts.create_user(account, f"v{step}"),
        lambda: accounts.delete_user(user),
        lambda: accounts.create_key_pair(user),
        lambda: accounts.enable_key_pair(secret_id, chance.random() < 0.5),
        lambda: accounts.delete_key_pair(secret_id),
        lambda: accounts.create_policy(account, f"p{step}", ALLOW),
        lambda: accounts.update_policy(policy, account_uin=account, document_text=DENY),
        lambda: accounts.delete_policy(policy, account_uin=account),
        lambda: accounts.attach_policy(account, policy, user_uin=user),
        lambda: accounts.attach_policy(account, policy, user_uin=user),
        lambda: accounts.attach_policy(account, policy, role=role),
        lambda: accounts.detach_policy(account, policy, user_uin=user),
        lambda: accounts.create_role(account, f"r{step}", ["*"]),
        lambda: accounts.delete_role(account, role),
        lambda: accounts.create_application(account, f"x{step}"),
        lambda: accounts.rotate_application_key(application, keep_previous_s=60),
        lambda: accounts.delete_application(application),
    ]
    with contextlib.suppress(AccountsError):
        await chance.choice(changes)()
