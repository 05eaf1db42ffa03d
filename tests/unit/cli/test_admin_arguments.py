import argparse

import pytest

from rtcloud.admin import arguments, commands


def parse(*argv: str) -> commands.AnyCommand:
    parser = argparse.ArgumentParser()
    arguments.add_parsers(parser)
    return arguments.made_from(parser.parse_args(argv))


def test_flags_become_commands() -> None:
    assert parse("usersig", "1400000000", "alice", "--expire", "60") == commands.UserSig(
        sdk_app_id=1400000000, user_id="alice", expire=60
    )
    assert parse("callbacks", "set", "14", "--url", "http://h/", "--key", "k", "--groups", "1,3") == (
        commands.CallbacksSet(sdk_app_id=14, url="http://h/", key="k", groups=[1, 3])  # type: ignore[arg-type]
    )
    assert parse("callbacks", "replay") == commands.CallbacksReplay()
    assert parse("rooms") == commands.Rooms()


def test_groups_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(SystemExit):
        parse("callbacks", "clear", "14", "--groups", "room")
