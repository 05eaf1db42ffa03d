"""The command line of ``rtcloud admin``, made from the commands' own declarations.

``--data`` and ``--json`` may stand anywhere. A noun without a verb lists. What is typed wrongly is one line and exit
status 2, like every other mistake of the operator.
"""

import argparse
import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin

import msgspec

from rtcloud.admin import ingest, media, recordings, tasks, vod
from rtcloud.admin.command import Command, Flag, Word
from rtcloud.admin.commands import COMMANDS, NOUNS

#: Empties a list.
NONE = "none"
TASK_VERBS: dict[str, type[Command]] = {
    "ls": tasks.TasksList,
    "show": tasks.TasksShow,
    "stop": tasks.TasksStop,
    "preview": tasks.TasksPreview,
}
RECORDING_VERBS: dict[str, type[Command]] = {
    "ls": recordings.RecordingsList,
    "show": recordings.RecordingsShow,
    "rekey": recordings.RecordingsRekey,
}

INGEST_VERBS: dict[str, type[Command]] = {"ls": ingest.IngestList, "stop": ingest.IngestStop}
VOD_VERBS: dict[str, type[Command]] = {"ls": vod.VodList, "show": vod.VodShow, "rm": vod.VodRemove}


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        program, _, words = self.prog.partition(" ")
        where = f"{program}: {words}" if words else program
        self.exit(2, f"{where}: {message} (see --help)\n")


def add_parsers(parser: argparse.ArgumentParser) -> None:
    _add_common(parser, data="data", as_json=False)
    kinds = parser.add_subparsers(dest="noun", required=True, metavar="COMMAND")
    nouns: dict[str, Any] = {}
    for made in COMMANDS:
        noun, *verb = made.words()
        if not verb:
            _add_command(kinds, noun, made)
            continue
        if noun not in nouns:
            nouns[noun] = _add_noun(kinds, noun)
        _add_command(nouns[noun], verb[0], made)


def add_task_parsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """``rtcloud task``: the commands of ``rtcloud admin tasks`` by the names that one types often. Gives the verbs'."""
    kinds = _add_short(parser, "task", TASK_VERBS)
    return dict(kinds.choices)


def add_vod_parsers(parser: argparse.ArgumentParser) -> None:
    """``rtcloud vod``, likewise."""
    _add_short(parser, "vod", VOD_VERBS)


def add_ingest_parsers(parser: argparse.ArgumentParser) -> None:
    """``rtcloud ingest``, likewise."""
    _add_short(parser, "ingest", INGEST_VERBS)


def add_media_parsers(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """``rtcloud media``. Gives the parser of ``top``, which looks again and again."""
    _add_common(parser, data="data", as_json=False)
    kinds = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_command(kinds, "top", media.MediaTop, example=f"{media.MediaTop.example}")
    top: argparse.ArgumentParser = kinds.choices["top"]
    return top


def add_recording_parsers(
    parser: argparse.ArgumentParser,
) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """``rtcloud recording``, likewise. Gives those of ``verify`` and ``play``, which read files themselves."""
    kinds = _add_short(parser, "recording", RECORDING_VERBS)
    verify: argparse.ArgumentParser = kinds.add_parser("verify", help="play every file of a recording, and check it.")
    play: argparse.ArgumentParser = kinds.add_parser("play", help="open a page that lists recordings and plays them.")
    for each in (verify, play):
        _add_common(each)
    return verify, play


def _add_short(parser: argparse.ArgumentParser, noun: str, verbs: dict[str, type[Command]]) -> Any:
    _add_common(parser, data="data", as_json=False)
    parser.set_defaults(command=verbs["ls"])
    kinds = parser.add_subparsers(dest="verb", metavar="VERB")
    for word, made in verbs.items():
        _add_command(kinds, word, made, example=" ".join((noun, word, *made.example.split()[2:])))
    return kinds


def made_from(arguments: argparse.Namespace) -> Command:
    kind: type[Command] = arguments.command
    given = {name: value for name in kind.__struct_fields__ if (value := getattr(arguments, name, None)) is not None}
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def _add_common(
    parser: argparse.ArgumentParser, *, data: Any = argparse.SUPPRESS, as_json: Any = argparse.SUPPRESS
) -> None:
    """Without defaults below the first level, so that a later parser does not undo what an earlier one was given."""
    parser.add_argument("--data", default=data, metavar="DIR", help="the server's data directory (default: data)")
    parser.add_argument("--json", action="store_true", default=as_json, help="print the answer as JSON")


def _add_noun(kinds: Any, noun: str) -> Any:
    lists = next((each for each in COMMANDS if each.words() == (noun, "list")), None)
    may_list = lists is not None and not any(field.required for field in msgspec.structs.fields(lists))
    text = NOUNS[noun] + (" Without a verb: lists them." if may_list else "")
    parser = kinds.add_parser(noun, help=NOUNS[noun], description=text)
    _add_common(parser)
    if may_list:
        parser.set_defaults(command=lists)
    return parser.add_subparsers(dest="verb", required=not may_list, metavar="VERB")


def _add_command(into: Any, word: str, made: type[Command], *, example: str | None = None) -> None:
    first, _, rest = (made.__doc__ or "").partition("\n\n")
    parser = into.add_parser(
        word,
        help=_flowing(first).partition(". ")[0].removesuffix(".") + ".",
        description="\n\n".join(filter(None, (_flowing(first), _flowing(rest)))),
        epilog=f"example: rtcloud {example or f'admin {made.example}'}",
    )
    _add_common(parser)
    parser.set_defaults(command=made)
    for field in msgspec.structs.fields(made):
        _add_argument(parser, field)


def _add_argument(parser: argparse.ArgumentParser, field: msgspec.structs.FieldInfo) -> None:
    declared, given = get_args(field.type)[:2] if get_origin(field.type) is Annotated else (field.type, None)
    if isinstance(given, Word):
        optional: dict[str, Any] = {} if field.required else {"nargs": "?"}
        parser.add_argument(field.name, metavar=given.metavar, help=given.help or None, **optional)
        return
    assert isinstance(given, Flag), f"{field.name} says not how it is typed"
    flag = f"--{field.name.replace('_', '-')}"
    if declared is bool:
        parser.add_argument(flag, dest=field.name, help=given.help, action="store_const", const=True)
        return
    shared: dict[str, Any] = {"dest": field.name, "metavar": given.metavar, "help": given.help}
    parser.add_argument(flag, required=field.required, **shared, **_reading(_without_none(declared), given))


def _reading(declared: Any, given: Flag) -> dict[str, Any]:
    """How argparse reads a value of the declared type."""
    if given.parse is not None:
        return {"type": given.parse}
    if get_origin(declared) is Literal:
        return {"choices": get_args(declared)}
    if get_origin(declared) is tuple:
        return {"type": _list_of(get_args(declared)[0]), "action": "extend"}
    return {"type": declared}


def _list_of(kind: Any) -> Callable[[str], tuple[Any, ...]]:
    choices = get_args(kind) if get_origin(kind) is Literal else ()

    def read(text: str) -> tuple[Any, ...]:
        if text == NONE:
            return ()
        if choices:
            return tuple(_chosen(part.strip(), choices) for part in text.split(",") if part.strip())
        try:
            return tuple(kind(part.strip()) for part in text.split(",") if part.strip())
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 1,2,3") from None

    return read


def _chosen(text: str, choices: tuple[str, ...]) -> str:
    if text not in choices:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(choices)}")
    return text


def _without_none(declared: Any) -> Any:
    if get_origin(declared) in (Union, types.UnionType):
        return next(each for each in get_args(declared) if each is not types.NoneType)
    return declared


def _flowing(text: str) -> str:
    return " ".join(text.split())
