"""The operator's commands as they are typed, on accounts in memory: what they answer and what they change."""

import argparse
import json
import shlex
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, update

from rtcloud.accounts.authentication import Keyring
from rtcloud.accounts.sessions import Sessions
from rtcloud.accounts.store import Accounts
from rtcloud.accounts.usersig import UserSigError, verify_user_sig
from rtcloud.admin import arguments, tables
from rtcloud.admin.command import AdminError, Command, Site
from rtcloud.admin.commands import decode, perform
from rtcloud.callbacks import outbox
from rtcloud.callbacks.events import room_event
from rtcloud.errors import ServiceError
from rtcloud.rooms.ids import RoomRef
from rtcloud.store import tables as tables_of_store
from rtcloud.store.bus import LocalBus
from rtcloud.store.database import open_database
from rtcloud.store.sealing import Sealer
from tests.kit.signed import StillClock

pytestmark = pytest.mark.anyio

ALL = '{"version":"2.0","statement":{"effect":"allow","action":"trtc:*","resource":"*"}}'


class Operator:
    """Types commands; they go over the wire's encoding."""

    def __init__(self, site: Site, clock: StillClock) -> None:
        self.site = site
        self.clock = clock
        self.accounts = site.accounts
        self._parser = arguments.Parser(prog="rtcloud")
        arguments.add_parsers(self._parser)

    def typed(self, line: str) -> Command:
        found: argparse.Namespace = self._parser.parse_args(shlex.split(line))
        return decode(msgspec.json.encode(arguments.made_from(found)))

    async def does(self, line: str) -> Any:
        answer = await perform(self.typed(line), self.site)
        assert json.loads(json.dumps(answer)) == answer
        assert tables.render(answer)
        return answer

    async def fails(self, line: str, said: str) -> None:
        with pytest.raises(AdminError, match=said) as refused:
            await self.does(line)
        assert "\n" not in str(refused.value)

    def opens(self, secret_id: str, token: str | None = None) -> bool:
        try:
            Keyring(self.accounts, self.site.sessions).find(secret_id, token, self.clock.now_ms())
        except ServiceError:
            return False
        return True


@pytest.fixture
async def operator() -> AsyncIterator[Operator]:
    """With one account, acme, and its user ops; nothing else."""
    clock, sealer, database = StillClock(), Sealer(bytes(32)), open_database(None)
    accounts = await Accounts.load(database, sealer, clock)
    made = Operator(Site(accounts, database, LocalBus(), clock, Sessions(sealer, accounts)), clock)
    await made.does("accounts create acme")
    await made.does("users create ops")
    yield made
    await database.close()


async def test_an_account_a_user_a_key_a_policy_and_an_application_are_made(operator: Operator) -> None:
    application = await operator.does("applications create acme lessons")
    policy = await operator.does(f"policies create acme all --document '{ALL}' --description 'Everything of TRTC'")
    await operator.does("policies attach all --user ops")
    key = await operator.does("keys create ops")
    assert operator.opens(key["secret_id"])
    (user,) = await operator.does("users list")
    assert (user["name"], user["policies"], user["keys"]) == ("ops", ["all"], 1)
    shown = await operator.does("users show ops")
    assert shown["keys"] == [{"secret_id": key["secret_id"], "enabled": True, "created": shown["created"]}]
    assert (await operator.does("accounts show"))["applications"] == [
        {"sdk_app_id": application["sdk_app_id"], "name": "lessons"}
    ]
    assert (await operator.does("policies show all"))["attached_to"] == [f"user ops ({user['uin']})"]
    assert policy["id"] > 1000
    check = await operator.does(f"policies check ops RemoveUser {application['sdk_app_id']}")
    assert (check["allowed"], check["because"]) == (True, f"allowed by statement.0 of policy all ({policy['id']})")


async def test_a_secret_is_shown_by_the_command_that_makes_it_alone(operator: Operator) -> None:
    application = await operator.does("applications create lessons")
    key = await operator.does("keys create ops")
    assert key["secret_key"]
    for line in ("keys list", "users show ops", "accounts show", "applications list", "applications show lessons"):
        printed = json.dumps(await operator.does(line))
        assert key["secret_key"] not in printed
        assert application["sdk_secret_key"] not in printed
    shown = await operator.does("applications show-key lessons")
    assert shown["sdk_secret_key"] == application["sdk_secret_key"]


async def test_names_stand_for_numbers_where_only_one_thing_has_them(operator: Operator) -> None:
    await operator.does("accounts create other")
    await operator.fails("users create ops2", "there are 2 accounts, say which one: .*acme.*other")
    other = await operator.does("users create other ops")
    await operator.fails("users show ops", f"2 are called 'ops'; give the uin, one of .*{other['uin']}")
    assert (await operator.does(f"users show {other['uin']}"))["account"] == other["account"]
    await operator.fails("users show nobody", "there is no user 'nobody'")
    await operator.does(f"policies create acme mine --document '{ALL}'")
    theirs = await operator.does(f"policies create other mine --document '{ALL}'")
    await operator.fails("policies show mine", "2 are called 'mine'; give the id, one of")
    assert (await operator.does("policies show mine --account other"))["id"] == theirs["id"]
    assert (await operator.does(f"policies attach mine --user {other['uin']}"))["policies"] == ["mine"]
    assert [row["name"] for row in await operator.does("users list acme")] == ["ops"]


async def test_a_disabled_key_is_refused_until_it_is_enabled(operator: Operator) -> None:
    key = await operator.does("keys create ops")
    assert (await operator.does(f"keys disable {key['secret_id']}"))["enabled"] is False
    assert not operator.opens(key["secret_id"])
    assert (await operator.does(f"keys enable {key['secret_id']}"))["enabled"] is True
    assert operator.opens(key["secret_id"])
    await operator.does(f"keys delete {key['secret_id']}")
    assert not operator.opens(key["secret_id"])
    await operator.fails(f"keys delete {key['secret_id']}", "there is no key pair")


async def test_a_rotated_key_stands_beside_the_old_one(operator: Operator) -> None:
    old = await operator.does("keys create ops")
    new = await operator.does(f"keys rotate {old['secret_id']}")
    assert new["replaces"] == old["secret_id"]
    assert f"keys disable {old['secret_id']}" in new["next"]
    assert operator.opens(old["secret_id"])
    assert operator.opens(new["secret_id"])
    await operator.fails(f"keys rotate {old['secret_id']}", f"another key pair already, {new['secret_id']}")
    await operator.fails("keys create ops", "already has 2")


async def test_temporary_credentials_end_with_their_time_and_their_key(operator: Operator) -> None:
    await operator.fails("token ops", "has no key pair that is enabled")
    key = await operator.does("keys create ops")
    made = await operator.does("token ops --duration 60")
    assert operator.opens(made["secret_id"], made["token"])
    operator.clock.ms += 61_000
    assert not operator.opens(made["secret_id"], made["token"])
    again = await operator.does("token ops")
    await operator.does(f"keys disable {key['secret_id']}")
    assert not operator.opens(again["secret_id"], again["token"])
    await operator.fails("token ops --duration 0", "duration: 1 to 129600")
    await operator.fails("token ops --duration 43201 --role auditor", "duration: 1 to 43200")


async def test_only_a_trusted_user_becomes_a_role(operator: Operator) -> None:
    await operator.does("users create guest")
    for name in ("ops", "guest"):
        await operator.does(f"keys create {name}")
    role = await operator.does("roles create auditor --trust ops")
    assert (await operator.does("policies attach QcloudTRTCReadonlyAccess --role auditor"))["policies"] == [
        "QcloudTRTCReadonlyAccess"
    ]
    made = await operator.does("token ops --role auditor")
    assert operator.opens(made["secret_id"], made["token"])
    await operator.fails("token guest --role auditor", "does not trust guest")
    shown = await operator.does("roles show auditor")
    assert shown["arn"] == f"qcs::cam::uin/{role['account']}:roleName/auditor"
    assert (await operator.does("policies detach QcloudTRTCReadonlyAccess --role auditor"))["policies"] == []
    await operator.does("roles delete auditor")
    assert not operator.opens(made["secret_id"], made["token"])
    assert await operator.does("roles list") == []
    await operator.does("roles create open --trust '*'")


async def test_a_policy_is_changed_and_deleted_but_no_preset(operator: Operator) -> None:
    await operator.does(f"policies create mine --document '{ALL}'")
    await operator.does("policies attach mine --user ops")
    assert (await operator.does("policies check ops DismissRoom"))["allowed"]
    denying = ALL.replace("allow", "deny")
    await operator.does(f"policies update mine --document '{denying}' --description shut")
    check = await operator.does("policies check ops DismissRoom")
    assert (check["allowed"], check["because"].split(" (")[0]) == (False, "denied by statement.0 of policy mine")
    assert operator.typed("policies check ops DismissRoom").exit_status(check) == 1
    await operator.fails("policies update mine", "nothing to change")
    await operator.does("policies delete mine")
    assert (await operator.does("users show ops"))["policies"] == []
    for line in ("policies delete QcloudTRTCFullAccess", f"policies update AdministratorAccess --document '{ALL}'"):
        await operator.fails(line, "is a preset")
    await operator.fails("policies attach QcloudTRTCFullAccess", "give either --user or --role")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "not JSON"),
        ('{"version":"2.0","statement":{"effect":"allow","action":"trtc:RemoveUsr","resource":"*"}}', "RemoveUsr"),
        ('{"Version":"2.0","statement":[]}', "lower case"),
    ],
)
async def test_a_document_that_is_none_is_refused_with_its_fault(operator: Operator, document: str, said: str) -> None:
    await operator.fails(f"policies create bad --document '{document}'", said)
    assert all(row["account"] == "preset" for row in await operator.does("policies list"))


async def test_check_knows_the_account_of_an_application_and_misspelt_actions(operator: Operator) -> None:
    await operator.does("accounts create other")
    foreign = await operator.does("applications create other theirs")
    await operator.fails(f"policies check ops RemoveUser {foreign['sdk_app_id']}", "another account's application")
    await operator.fails("policies check ops RemoveUsr", "is it RemoveUser")


async def test_networks_are_set_and_emptied(operator: Operator) -> None:
    shown = await operator.does("accounts set acme --allow-network 10.0.0.0/8,192.0.2.7 --deny-network 10.1.0.0/16")
    assert (shown["allowed_networks"], shown["denied_networks"]) == (["10.0.0.0/8", "192.0.2.7"], ["10.1.0.0/16"])
    shown = await operator.does("accounts set acme --allow-network none --name acme2")
    assert (shown["allowed_networks"], shown["denied_networks"]) == ("every network", ["10.1.0.0/16"])
    assert shown["name"] == "acme2"
    await operator.fails("accounts set --deny-network here", "denied_networks: .*here")
    await operator.fails("accounts set acme2", "nothing to change")


async def test_settings_of_an_application_change_one_by_one(operator: Operator) -> None:
    await operator.does("applications create lessons")
    await operator.does("applications set lessons --permission-control on --scenes live --concurrent-recordings 7")
    shown = await operator.does("applications set lessons --auto-recording single --auto-recording-format hls")
    assert (shown["permission_control"], shown["scenes"], shown["concurrent_recordings"]) == (True, ["live"], 7)
    assert shown["auto_recording"] == "single, sound and pictures, hls, waits 30 s, to the media library"
    longer = "--auto-recording-wait 60 --auto-recording-expire 3600 --auto-recording-minutes 5 --name classes"
    shown = await operator.does(f"applications set lessons {longer}")
    assert shown["name"] == "classes"
    told = "single, sound and pictures, hls, files of 5 min, waits 60 s, to the media library for 3600 s"
    assert shown["auto_recording"] == told
    bucket = "--auto-recording-bucket lessons --auto-recording-prefix a,b --auto-recording-region ap-x"
    shown = await operator.does(f"applications set classes {bucket} --auto-recording-format aac")
    told = "single, sound only, aac, files of 5 min, waits 60 s, to lessons/a/b (cos ap-x)"
    assert shown["auto_recording"] == told
    await operator.fails("applications set classes --auto-recording-content video", "aac holds sound only")
    await operator.fails("applications set classes --auto-recording-bucket a/b", "bucket")
    await operator.fails("applications set classes --auto-recording-minutes 1441", "<= 1440")
    assert (await operator.does("applications set classes --auto-recording off"))["auto_recording"] == "off"
    await operator.fails("applications set classes --auto-recording-wait 60", "automatic recording is off")
    assert shown["relay_codec"] == "h264"
    assert (await operator.does("applications set classes --relay-codec h265"))["relay_codec"] == "h265"
    assert shown["b_frames"] == "transcode"
    assert (await operator.does("applications set classes --b-frames refuse"))["b_frames"] == "refuse"
    await operator.fails("applications set classes --concurrent-recordings -1", "concurrent_recordings")
    await operator.fails("applications set classes --scenes none", "scenes")
    await operator.fails("applications set classes", "nothing to change")


async def test_a_rotated_sdk_secret_key_keeps_old_user_sigs_good_for_a_while(operator: Operator) -> None:
    application = await operator.does("applications create lessons")
    app = application["sdk_app_id"]
    user_sig = (await operator.does(f"usersig {app} alice --expire 3600"))["user_sig"]
    for name in ("''", "u" * 65):
        await operator.fails(f"usersig {app} {name}", "USERID: 1 to 64 characters")

    def is_good() -> bool:
        keys, now_ms = operator.accounts.sdk_secret_keys(app), operator.clock.now_ms()
        return _verifies(user_sig, app, keys, now_ms)

    new = await operator.does("applications rotate-key lessons --keep 600")
    assert new["sdk_secret_key"] != application["sdk_secret_key"]
    assert f"forget-key {app}" in new["next"]
    assert (await operator.does("applications show-key lessons"))["previous_key"] == application["sdk_secret_key"]
    assert is_good()
    await operator.does("applications forget-key lessons")
    assert not is_good()
    await operator.fails("applications forget-key lessons", "no previous key")
    last = await operator.does("applications rotate-key lessons --keep 0")
    assert "not good any more" in last["next"]
    await operator.fails("applications rotate-key lessons --keep -1", "kept 0 to")
    assert "previous_key" not in await operator.does("applications show-key lessons")


async def test_an_application_is_deleted_but_not_the_first_accounts_last(operator: Operator) -> None:
    await operator.does("applications create lessons")
    await operator.does("applications create trial")
    await operator.does("applications delete trial")
    assert [row["name"] for row in await operator.does("applications")] == ["lessons"]
    await operator.fails("applications delete lessons", "last application")


async def test_an_account_is_deleted_once_it_has_no_users_and_applications(operator: Operator) -> None:
    await operator.does("accounts create other")
    await operator.does("users create other ops")
    await operator.does("applications create other trial")
    await operator.does(f"policies create other all --document '{ALL}'")
    await operator.does("roles create other auditor --trust ops")
    await operator.does("policies attach all --role auditor --account other")
    await operator.fails("accounts delete other", "still has users or applications")
    await operator.does("applications delete trial")
    await operator.fails("accounts delete other", "still has users or applications")
    ops = next(user["uin"] for user in (await operator.does("accounts show other"))["users"])
    await operator.does(f"users delete {ops}")
    assert (await operator.does("accounts delete other"))["name"] == "other"
    await operator.fails("accounts show other", "there is no account 'other'")
    assert [row["name"] for row in await operator.does("accounts")] == ["acme"]
    assert await operator.does("roles") == []
    assert {row["account"] for row in await operator.does("policies")} == {"preset"}
    await operator.fails("accounts delete acme", "first account")


async def test_who_a_role_trusts_is_changed(operator: Operator) -> None:
    await operator.does("users create dev")
    await operator.does("keys create ops")
    await operator.does("roles create auditor --trust ops --description 'looks on'")
    made = await operator.does("token ops --role auditor")
    assert operator.opens(made["secret_id"], made["token"])
    changed = await operator.does("roles set auditor --trust dev")
    assert (changed["trusted"], changed["description"]) == ([operator.accounts.users()[1].uin], "looks on")
    assert not operator.opens(made["secret_id"], made["token"])
    await operator.fails("token ops --role auditor", "does not trust ops")
    assert (await operator.does("roles set auditor --trust 'ops,*' --description ''"))["description"] == ""
    assert operator.opens(made["secret_id"], made["token"])
    await operator.fails("roles set auditor", "nothing to change")
    await operator.fails("roles set auditor --trust nobody", "there is no user 'nobody'")
    await operator.fails("roles set auditor --trust none", "name a user")
    await operator.fails("roles set nothing --trust ops", "has no role 'nothing'")


async def test_a_role_trusts_the_accounts_own_user_whatever_others_are_called(operator: Operator) -> None:
    await operator.does("accounts create other")
    theirs = await operator.does("users create other ops")
    own = await operator.does("roles create acme auditor --trust ops")
    assert own["trusted"] not in ([], [theirs["uin"]])
    await operator.fails(f"roles create acme second --trust {theirs['uin']}", "there is no user")


async def test_callbacks_are_set_for_some_groups_and_cleared(operator: Operator) -> None:
    app = (await operator.does("applications create lessons"))["sdk_app_id"]
    await operator.does(f"callbacks set {app} --url http://127.0.0.1:1/ --key abc --groups 1,3 --events 103,104,301")
    await operator.does(f"callbacks set {app} --url http://127.0.0.1:1/ --groups 2")
    assert (await operator.does("callbacks list lessons"))["targets"] == [
        {"group": 1, "url": "http://127.0.0.1:1/", "events": [103, 104]},
        {"group": 2, "url": "http://127.0.0.1:1/", "events": "all"},
        {"group": 3, "url": "http://127.0.0.1:1/", "events": [301]},
    ]
    await operator.does("callbacks clear lessons --groups 1")
    assert [row["group"] for row in (await operator.does(f"applications show {app}"))["callbacks"]] == [2, 3]
    await operator.fails(f"callbacks set {app} --url nowhere", "url: an http or https address")
    assert await operator.does("callbacks replay") == {"replayed": 0}
    assert await operator.does("callbacks parked") == []


async def test_parked_events_are_seen_delivered_after_all_or_forgotten_by_time_and_type(operator: Operator) -> None:
    app = (await operator.does("applications create lessons"))["sdk_app_id"]
    await operator.does(f"callbacks set {app} --url http://127.0.0.1:1/")
    ref, begin_ms = RoomRef(app, True, "7"), operator.clock.now_ms()

    def park(connection: Connection) -> None:
        for minute, event_type in enumerate((101, 102, 102)):
            given: dict[str, Any] = {"user_id": "alice"} if event_type == 101 else {}
            at_ms = begin_ms + minute * 60_000
            outbox.enqueue(connection, room_event(ref, event_type, at_ms, **given), at_ms)
        connection.execute(update(tables_of_store.callbacks).values(state="parked", head=False))

    await operator.site.database.write(park)
    rows = await operator.does("callbacks parked --sdk-app-id lessons")
    assert [(row["type"], row["room"]) for row in rows] == [
        (101, f"{app}/n/7"),
        (102, f"{app}/n/7"),
        (102, f"{app}/n/7"),
    ]
    later = (begin_ms + 60_000) // 1000
    assert len(await operator.does(f"callbacks parked --since {later}")) == 2
    assert len(await operator.does(f"callbacks parked --until {later} --types 101,102")) == 1
    assert len(await operator.does(f"callbacks parked --after {rows[1]['id']}")) == 1
    assert await operator.does(f"callbacks replay --types 102 --until {later + 60}") == {"replayed": 1}
    assert await operator.does("callbacks purge --types 102") == {"purged": 1}
    assert [row["type"] for row in await operator.does("callbacks parked")] == [101]
    await operator.fails("callbacks purge", "say which events")
    with pytest.raises(SystemExit):
        operator.typed("callbacks parked --since yesterday")
    assert operator.typed("callbacks parked --since 1970-01-01T00:00:01Z").since == 1000  # type: ignore[attr-defined]


async def test_a_deleted_user_takes_its_keys_along(operator: Operator) -> None:
    key = await operator.does("keys create ops")
    await operator.does("users delete ops")
    assert not operator.opens(key["secret_id"])
    assert await operator.does("users") == [] == await operator.does("keys")


async def test_what_is_no_command_is_refused() -> None:
    for raw in (b"", b"{}", b'{"type":"users.cook"}', b'{"type":"users.show"}', b"\xff"):
        with pytest.raises(AdminError):
            decode(raw)


def _verifies(user_sig: str, app: int, keys: tuple[str, ...], now_ms: int) -> bool:
    try:
        verify_user_sig(user_sig, sdk_app_id=app, secret_keys=keys, user_id="alice", now_ms=now_ms)
    except UserSigError:
        return False
    return True
