"""The flags of ``rtcloud admin …`` and the command they mean."""

import argparse
from typing import Any

from rtcloud.admin import commands


def add_parsers(parser: argparse.ArgumentParser) -> None:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data", default="data", metavar="DIR", help="the server's data directory (default: data)")
    common.add_argument("--json", action="store_true", help="print the answer as JSON")
    kinds = parser.add_subparsers(dest="admin", required=True, metavar="COMMAND")

    def command(into: Any, name: str, made: type[commands.AnyCommand]) -> argparse.ArgumentParser:
        text = (made.__doc__ or "").strip()
        added: argparse.ArgumentParser = into.add_parser(name, parents=[common], help=text, description=text)
        added.set_defaults(command=made)
        return added

    command(kinds, "applications", commands.Applications)
    command(kinds, "rooms", commands.Rooms)
    usersig = command(kinds, "usersig", commands.UserSig)
    usersig.add_argument("sdk_app_id", type=int, metavar="SDKAPPID")
    usersig.add_argument("user_id", metavar="USERID")
    usersig.add_argument("--expire", type=int, metavar="SECONDS", help="how long it is good (default: 180 days)")

    callbacks = kinds.add_parser("callbacks", help="Where events go; events that could not be delivered.")
    verbs = callbacks.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, made in (
        ("set", commands.CallbacksSet),
        ("clear", commands.CallbacksClear),
        ("list", commands.CallbacksList),
    ):
        added = command(verbs, verb, made)
        added.add_argument("sdk_app_id", type=int, metavar="SDKAPPID")
        if verb == "set":
            added.add_argument("--url", required=True, help="http or https address")
            added.add_argument("--key", default="", help="signs the events; at most 32 letters and digits")
        if verb != "list":
            added.add_argument("--groups", type=_numbers, help="1 room, 2 media, 3 recording (default: all)")
    for verb, waiting in (("parked", commands.CallbacksParked), ("replay", commands.CallbacksReplay)):
        added = command(verbs, verb, waiting)
        added.add_argument("--sdk-app-id", type=int, dest="sdk_app_id", metavar="SDKAPPID", help="of this one only")
        if verb == "replay":
            added.add_argument("--ids", type=_numbers, help="these only, comma-separated")


def made_from(arguments: argparse.Namespace) -> commands.AnyCommand:
    kind: type[commands.AnyCommand] = arguments.command
    given = {name: value for name in kind.__struct_fields__ if (value := getattr(arguments, name, None)) is not None}
    return kind(**given)


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 1,2,3") from None
