"""The command ``rtcloud``. A mistake of the operator is one clear line on stderr and exit status 2."""

import argparse
import io
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rtcloud
from rtcloud.errors import ConfigError

if TYPE_CHECKING:
    from rtcloud.admin.command import AdminError, Command


def main(argv: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    arguments = _parser(jobs_only=words[:1] == ["job"]).parse_args(words)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names come from everywhere; not every terminal has them
    try:
        status = int(arguments.run(arguments))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever reads our output has seen enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except ConfigError as error:
        print(f"rtcloud: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser(*, jobs_only: bool) -> argparse.ArgumentParser:
    """``jobs_only``: for a job, which needs none of what the other verbs load, and is to begin at once."""
    if jobs_only:
        parser = argparse.ArgumentParser(prog="rtcloud")
        _add_job(parser.add_subparsers(required=True))
        return parser

    from rtcloud import config
    from rtcloud.admin import arguments as admin

    parser = admin.Parser(prog="rtcloud", description=rtcloud.__doc__)
    parser.add_argument("--version", action="version", version=f"rtcloud {rtcloud.__version__}")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = verbs.add_parser("serve", help="run the server", description="Run the server until SIGTERM.")
    config.add_flags(serve)
    serve.set_defaults(run=_serve)

    _add_job(verbs)

    administration = verbs.add_parser("admin", help="accounts, users, keys, policies, applications, callbacks, rooms")
    admin.add_parsers(administration)
    administration.set_defaults(run=_admin)

    task = verbs.add_parser(
        "task",
        help="recordings, relays, what comes in: which run, how they do, what they show",
        description="Recordings, relays, what comes in: which run, how they do, what they show. Without a verb: lists "
        "them.",
    )
    task_verbs = admin.add_task_parsers(task)
    task.set_defaults(run=_admin)
    preview = task_verbs["preview"]
    preview.description = "Write the picture that a task makes, as it is now, to a PNG file."
    preview.epilog = "example: rtcloud task preview 3f9a -o now.png"
    preview.add_argument(
        "-o", "--output", metavar="FILE", help="where to write it; - is stdout (default: TASK.png in this directory)"
    )
    preview.set_defaults(run=_task_preview)

    ingest = verbs.add_parser(
        "ingest",
        help="what comes into rooms: pushed by RTMP or WHIP, pulled from addresses",
        description="What comes into rooms: pushed by RTMP or WHIP, pulled from addresses. Without a verb: lists it.",
    )
    admin.add_ingest_parsers(ingest)
    ingest.set_defaults(run=_admin)

    media = verbs.add_parser(
        "media",
        help="what goes through the media engine now: rooms, tracks, bitrates, loss, CPU",
        description="What goes through the media engine now.",
    )
    top = admin.add_media_parsers(media)
    top.add_argument("--once", action="store_true", help="print it once, and end (also without a terminal)")
    top.add_argument(
        "--sort",
        choices=("bitrate", "loss", "jitter", "fps", "receivers", "freezes", "user"),
        default="bitrate",
        help="which tracks come first (default: %(default)s; in the view the first letter chooses, z for freezes)",
    )
    media.set_defaults(run=_media_top)

    recording = verbs.add_parser(
        "recording",
        help="what was recorded, and whether its files are whole",
        description="What was recorded, and whether its files are whole. Without a verb: lists it.",
    )
    recording.set_defaults(run=_admin)
    _describe_verify_and_play(*admin.add_recording_parsers(recording))

    vod = verbs.add_parser(
        "vod",
        help="the media library: files that recordings sent to VOD",
        description="The media library: files that recordings sent to VOD. Without a verb: lists them.",
    )
    admin.add_vod_parsers(vod)
    vod.set_defaults(run=_admin)

    _add_merge(verbs)

    settings = verbs.add_parser("config", help="check or show the configuration")
    kinds = settings.add_subparsers(required=True, metavar="VERB")
    check = kinds.add_parser("check", help="say what is wrong with the configuration, or what is in force")
    config.add_flags(check)
    check.add_argument("--json", action="store_true", help="print it as JSON")
    check.set_defaults(run=_config_check)
    example = kinds.add_parser("example", help="print a configuration file with every key documented")
    example.set_defaults(run=_config_example)

    doctor = verbs.add_parser("doctor", help="say what is wrong with this machine: ports, addresses, codecs")
    config.add_flags(doctor)
    doctor.add_argument("--json", action="store_true", help="print it as JSON")
    doctor.set_defaults(run=_doctor)

    development = verbs.add_parser("dev", help="what developers run beside the server")
    tools = development.add_subparsers(required=True, metavar="VERB")
    cdn = tools.add_parser(
        "cdn",
        help="a small streaming origin to push to and play from (nginx with its RTMP module), until Ctrl-C",
        description="Run a small streaming origin in the foreground, until Ctrl-C: push to rtmp://HOST:PORT/live/NAME, "
        "play the same address or HLS. It needs nginx and its RTMP module, no root, and keeps nothing. "
        "Anybody who reaches it may push: leave it on this machine.",
    )
    cdn.add_argument("--listen", default="127.0.0.1:1935", metavar="HOST:PORT", help="of RTMP (default: %(default)s)")
    cdn.add_argument(
        "--http", default="127.0.0.1:8935", metavar="HOST:PORT", help="of HLS and the list of streams (%(default)s)"
    )
    cdn.set_defaults(run=_dev_cdn)
    return parser


def _describe_verify_and_play(verify: argparse.ArgumentParser, play: argparse.ArgumentParser) -> None:
    verify.description = (
        "Play every file of a recording through the decoders, and check names, indexes, gaps, lengths, picture "
        "against sound, and sizes: of a task, against what its records say (its files must lie on this machine), or "
        "of all directories below DIR. Exit status 0: nothing is wrong; 1: something is."
    )
    verify.epilog = "example: rtcloud recording verify data/files/bucket/prefix/TASKID"
    verify.add_argument("what", metavar="TASK|DIR", help="a task, by its id or the beginning of it, or a directory")
    verify.set_defaults(run=_recording_verify)
    play.description = (
        "Serve a page that lists the recordings of a task, or all below DIR, and plays them, until Ctrl-C. Its "
        "address holds a secret and is printed. Who knows it may watch, so leave it on this machine."
    )
    play.epilog = "example: rtcloud recording play data/files"
    play.add_argument("what", metavar="TASK|DIR", help="a task, by its id or the beginning of it, or a directory")
    play.add_argument(
        "--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="(default: a free port of localhost)"
    )
    play.set_defaults(run=_recording_play)


def _add_job(verbs: Any) -> None:
    job = verbs.add_parser("job", help="do one task's work; started by a worker with an order on stdin")
    job.add_argument("--ready", action="store_true", help="load everything before the order comes")
    job.set_defaults(run=_job)


def _add_merge(verbs: Any) -> None:
    merge = verbs.add_parser(
        "merge",
        help="make one MP4 of the sound and the pictures of each user that was recorded singly",
        description="Make MP4 files of the segments of single-stream recordings that lie in a directory: of each user "
        "USERID_TIME_av.mp4, or USERID_TIME.m4a where there is sound only. Segments with more than 15 seconds of "
        "nothing between them are different sections. The files appear in the same directory.",
        epilog="example: rtcloud merge -f data/files/bucket/prefix/TASKID -m 1 -r 1280 720",
    )
    merge.add_argument("-f", dest="directory", metavar="DIR", required=True, help="where the segments and indexes lie")
    merge.add_argument(
        "-m", dest="mode", type=int, choices=(0, 1), default=0, help="0: a file for each section; 1: for each user (0)"
    )
    merge.add_argument("-s", dest="saves", action="store_true", help="with -m 1: leave out what is between sections")
    merge.add_argument(
        "-a",
        dest="wanted",
        type=int,
        choices=(0, 1, 2),
        default=0,
        help="pictures of 0: the main stream; 1: the main or else the sub stream; 2: the sub stream (0)",
    )
    merge.add_argument("-p", dest="fps", type=int, default=15, help="pictures per second, 5 to 120 (15)")
    merge.add_argument(
        "-r", dest="size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"), help="size (that of the largest picture)"
    )
    merge.add_argument("--json", action="store_true", help="print what was made as JSON")
    merge.set_defaults(run=_merge)


def _merge(arguments: argparse.Namespace) -> int:
    from rtcloud.recordings import commands
    from rtcloud.recordings.sections import Choice

    choice = Choice(
        joined=arguments.mode == 1,
        saves=arguments.saves,
        wanted=arguments.wanted,
        fps=arguments.fps,
        size=None if arguments.size is None else (arguments.size[0] & ~1, arguments.size[1] & ~1),
    )
    return commands.run_merge(Path(arguments.directory), choice, as_json=arguments.json)


def _recording_verify(arguments: argparse.Namespace) -> int:
    from rtcloud.admin.command import AdminError
    from rtcloud.recordings import commands

    if Path(arguments.what).is_dir():
        return commands.run_verify(Path(arguments.what), as_json=arguments.json)
    try:
        shown = _recording_shown(arguments)
    except AdminError as error:
        return _refused(error)
    return commands.run_verify_task(shown, as_json=arguments.json)


def _recording_play(arguments: argparse.Namespace) -> int:
    from rtcloud.admin.command import AdminError
    from rtcloud.config import parse_address
    from rtcloud.recordings.commands import local_directory
    from rtcloud.recordings.page import run_page

    listen = parse_address(arguments.listen)
    directory = Path(arguments.what)
    if not directory.is_dir():
        try:
            directory = local_directory(_recording_shown(arguments))
        except AdminError as error:
            return _refused(error)
    return run_page(directory, listen)


def _recording_shown(arguments: argparse.Namespace) -> Any:
    from rtcloud.admin.recordings import RecordingsShow

    if os.sep in arguments.what:
        raise ConfigError(f"{arguments.what}: there is no such directory")
    return _asked(arguments, RecordingsShow(task=arguments.what, segments=True))


def _serve(arguments: argparse.Namespace) -> int:
    from rtcloud import config
    from rtcloud.serve import run

    return run(lambda: config.load(vars(arguments)))


def _job(arguments: argparse.Namespace) -> int:
    from rtcloud import logs
    from rtcloud.tasks import job

    logs.configure("info")
    return job.main(ready=arguments.ready)


def _admin(arguments: argparse.Namespace) -> int:
    from rtcloud.admin import arguments as admin
    from rtcloud.admin import tables
    from rtcloud.admin.command import AdminError

    command = admin.made_from(arguments)
    try:
        result = _asked(arguments, command)
    except AdminError as error:
        return _refused(error)
    if arguments.json:
        _print_json(result)
    else:
        print(result[command.bare] if command.bare else tables.render(result))
    return command.exit_status(result)


def _task_preview(arguments: argparse.Namespace) -> int:
    import base64

    from rtcloud.admin import arguments as admin
    from rtcloud.admin.command import AdminError
    from rtcloud.store.objects import safe_segment

    try:
        result = _asked(arguments, admin.made_from(arguments))
    except AdminError as error:
        return _refused(error)
    picture = base64.b64decode(result["picture"])
    if arguments.output == "-":
        sys.stdout.buffer.write(picture)
        return 0
    path = Path(arguments.output or f"{safe_segment(result['task_id'])}.png")
    try:
        path.write_bytes(picture)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    if arguments.json:
        _print_json({"task_id": result["task_id"], "file": str(path), "bytes": len(picture)})
    else:
        print(f"{path}: {len(picture)} bytes")
    return 0


def _media_top(arguments: argparse.Namespace) -> int:
    from rtcloud.admin import arguments as admin
    from rtcloud.admin import top
    from rtcloud.admin.command import AdminError

    command, sort = admin.made_from(arguments), top.NAMES[arguments.sort]
    try:
        if arguments.json:
            _print_json(_asked(arguments, command))
        elif arguments.once or not (sys.stdin.isatty() and sys.stdout.isatty()):
            print(top.render(_asked(arguments, command), sort, top.Window(0, None)))
        else:
            top.watch(lambda: _asked(arguments, command), sort)
    except AdminError as error:
        return _refused(error)
    return 0


def _asked(arguments: argparse.Namespace, command: "Command") -> Any:
    """The answer of the running server, or without one of its data directory. Raises AdminError."""
    from rtcloud.admin import local, socket

    directory = Path(arguments.data)
    try:
        return socket.ask(directory, command)
    except ConnectionError:
        return local.run(directory, command)


def _refused(error: "AdminError") -> int:
    from rtcloud.admin.command import FailedError

    print(f"rtcloud: {error}", file=sys.stderr)
    return 1 if isinstance(error, FailedError) else 2


def _config_check(arguments: argparse.Namespace) -> int:
    import msgspec

    from rtcloud import config

    loaded = msgspec.to_builtins(config.load(vars(arguments)))
    for target in loaded["callbacks"]:
        target["key"] = "…" if target["key"] else ""
    for store in loaded["storage"]:
        store["access_key"], store["secret_key"] = ("…" if store[name] else "" for name in ("access_key", "secret_key"))
    loaded["ice_servers"] = [
        f"{server.split(' ')[0]} …" if " " in server else server for server in loaded["ice_servers"]
    ]
    loaded["turn_secret"] = "…" if loaded["turn_secret"] else ""
    if arguments.json:
        _print_json(loaded)
    else:
        for name, value in loaded.items():
            print(f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    return 0


def _config_example(_arguments: argparse.Namespace) -> int:
    from rtcloud import config

    print(config.example(), end="")
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from rtcloud import config, doctor

    findings = doctor.examine(config.load(vars(arguments)))
    if arguments.json:
        _print_json([{"check": f.check, "ok": f.ok, "found": f.found} for f in findings])
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.check}: {finding.found}")
    return 0 if all(finding.ok for finding in findings) else 1


def _dev_cdn(arguments: argparse.Namespace) -> int:
    from rtcloud.dev import cdn

    return cdn.run(arguments.listen, arguments.http)


def _print_json(result: object) -> None:
    print(json.dumps(result, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    sys.exit(main())
