import argparse
import io
import re
import shlex
from pathlib import Path

import msgspec
import pytest

from rtcloud.admin import arguments
from rtcloud.admin.accounts import AccountsSet
from rtcloud.admin.applications import ApplicationsList, ApplicationsSet
from rtcloud.admin.callbacks import CallbacksClear, CallbacksReplay, CallbacksSet
from rtcloud.admin.command import Command
from rtcloud.admin.commands import COMMANDS, decode
from rtcloud.admin.keys import KeysList
from rtcloud.admin.policies import PoliciesAttach, PoliciesCheck, PoliciesCreate
from rtcloud.admin.rooms import RoomsList, UserSig
from rtcloud.admin.users import UsersCreate, UsersList


def typed(*argv: str) -> argparse.Namespace:
    parser = arguments.Parser(prog="rtcloud")
    admin = parser.add_subparsers().add_parser("admin")
    arguments.add_parsers(admin)
    return parser.parse_args(["admin", *argv])


def parse(*argv: str) -> Command:
    return arguments.made_from(typed(*argv))


def test_flags_become_commands() -> None:
    assert parse("usersig", "1400000000", "alice", "--expire", "60") == UserSig(
        application="1400000000", user_id="alice", expire=60
    )
    assert parse("callbacks", "set", "14", "--url", "http://h/", "--key", "k", "--groups", "1,3") == (
        CallbacksSet(application="14", url="http://h/", key="k", groups=(1, 3))
    )
    assert parse("callbacks", "replay") == CallbacksReplay()
    assert parse("callbacks", "clear", "--groups", "1,3", "14") == CallbacksClear(application="14", groups=(1, 3))
    assert parse("rooms") == RoomsList()
    assert parse("policies", "attach", "ops", "--role", "auditor") == PoliciesAttach(policy="ops", role="auditor")
    assert parse("applications", "set", "14", "--permission-control", "on", "--scenes", "rtc,live") == ApplicationsSet(
        application="14", permission_control="on", scenes=("rtc", "live")
    )


def test_a_secret_need_not_be_an_argument_which_everybody_on_the_machine_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("9aB3xYz0\n"))
    wanted = CallbacksSet(application="14", url="http://h/", key="9aB3xYz0")
    assert parse("callbacks", "set", "14", "--url", "http://h/", "--key", "-") == wanted


def test_a_list_of_words_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("applications", "set", "14", "--scenes", "rtc,video")
    assert "'video' is none of rtc, live" in capsys.readouterr().err


def test_the_account_may_be_left_out() -> None:
    assert parse("users", "create", "ops") == UsersCreate(name="ops")
    assert parse("users", "create", "acme", "ops") == UsersCreate(account="acme", name="ops")
    assert parse("users", "--data", "d", "create", "--json", "acme", "ops") == UsersCreate(account="acme", name="ops")
    assert parse("policies", "check", "ops", "RemoveUser") == PoliciesCheck(user="ops", action="RemoveUser")


def test_a_noun_without_a_verb_lists() -> None:
    assert parse("applications") == ApplicationsList() == parse("applications", "list")
    assert parse("users") == UsersList()
    assert parse("keys", "--json") == KeysList()
    with pytest.raises(SystemExit):
        parse("callbacks")


@pytest.mark.parametrize(
    "argv",
    ["--data d --json users list", "users --data d --json list", "users list --data d --json", "users --json --data d"],
)
def test_data_and_json_may_stand_anywhere(argv: str) -> None:
    found = typed(*argv.split())
    assert (found.data, found.json) == ("d", True)


def test_none_empties_a_list() -> None:
    assert parse(
        "accounts", "set", "--allow-network", "none", "--deny-network", "10.0.0.0/8, 192.0.2.1"
    ) == AccountsSet(allow_network=(), deny_network=("10.0.0.0/8", "192.0.2.1"))


def test_a_document_is_a_file_or_standard_input_or_the_json_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy.json").write_text('{"version": "2.0"}')
    monkeypatch.setattr("sys.stdin", io.StringIO('{"version":"2.1"}'))
    for given, text in (
        (str(tmp_path / "policy.json"), '{"version": "2.0"}'),
        ("-", '{"version":"2.1"}'),
        (' {"version":"2.2"}', ' {"version":"2.2"}'),
    ):
        assert parse("policies", "create", "ops", "--document", given) == PoliciesCreate(name="ops", document=text)
    with pytest.raises(SystemExit):
        parse("policies", "create", "ops", "--document", str(tmp_path / "absent.json"))
    assert "absent.json: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("callbacks clear 14 --groups room", "'room' is not a list of numbers"),
        ("users create", "NAME"),
        ("users cook", "cook"),
        ("users list acme more", "more"),
        ("cook", "cook"),
        ("usersig 14 alice --expire soon", "--expire"),
        ("applications set 14 --auto-recording both", "--auto-recording"),
    ],
)
def test_what_is_typed_wrongly_is_one_clear_line(argv: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parse(*argv.split())
    error = capsys.readouterr().err
    assert left.value.code == 2
    assert said in error
    assert re.fullmatch(r"rtcloud: [^\n]+\n", error)


@pytest.mark.parametrize("made", COMMANDS, ids=lambda made: ".".join(made.words()))
def test_every_example_is_a_command_of_its_kind(made: type[Command], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtcloud.admin.documents.Path.open", lambda *_, **__: io.StringIO("{\n}"))
    command = parse(*shlex.split(made.example))
    assert type(command) is made
    assert decode(msgspec.json.encode(command)) == command


@pytest.mark.parametrize("made", COMMANDS, ids=lambda made: ".".join(made.words()))
def test_every_command_explains_itself(made: type[Command], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(*made.words(), "--help")
    told = " ".join(capsys.readouterr().out.split())
    assert f"example: rtcloud admin {made.example}".replace(" ", "") in told.replace(" ", "")
    for field in msgspec.structs.fields(made):
        assert field.name.replace("_", "-") in told or not isinstance(field.default, str)


def test_a_list_may_be_given_piece_by_piece() -> None:
    given = ("accounts", "set", "acme", "--allow-network", "10.0.0.0/8", "--allow-network", "192.0.2.1,192.0.2.2")
    assert parse(*given) == AccountsSet(account="acme", allow_network=("10.0.0.0/8", "192.0.2.1", "192.0.2.2"))
