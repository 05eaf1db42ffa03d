"""The command ``rtcloud``. A mistake of the operator is one clear line on stderr and exit status 2."""

import argparse
import io
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rtcloud
from rtcloud.errors import ConfigError


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
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


def _parser() -> argparse.ArgumentParser:
    from rtcloud import config
    from rtcloud.admin import arguments as admin

    parser = admin.Parser(prog="rtcloud", description=rtcloud.__doc__)
    parser.add_argument("--version", action="version", version=f"rtcloud {rtcloud.__version__}")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = verbs.add_parser("serve", help="run the server", description="Run the server until SIGTERM.")
    config.add_flags(serve)
    serve.set_defaults(run=_serve)

    job = verbs.add_parser("job", help="do one task's work; started by a worker with an order on stdin")
    job.set_defaults(run=_job)

    administration = verbs.add_parser("admin", help="accounts, users, keys, policies, applications, callbacks, rooms")
    admin.add_parsers(administration)
    administration.set_defaults(run=_admin)

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


def _serve(arguments: argparse.Namespace) -> int:
    from rtcloud import config
    from rtcloud.serve import run

    return run(config.load(vars(arguments)))


def _job(_arguments: argparse.Namespace) -> int:
    from rtcloud import logs
    from rtcloud.tasks import job

    logs.configure("info")
    return job.main()


def _admin(arguments: argparse.Namespace) -> int:
    from rtcloud.admin import arguments as admin
    from rtcloud.admin import local, socket, tables
    from rtcloud.admin.command import AdminError, FailedError

    command, directory = admin.made_from(arguments), Path(arguments.data)
    try:
        try:
            result: Any = socket.ask(directory, command)
        except ConnectionError:
            result = local.run(directory, command)
    except AdminError as error:
        print(f"rtcloud: {error}", file=sys.stderr)
        return 1 if isinstance(error, FailedError) else 2
    if arguments.json:
        _print_json(result)
    else:
        print(result[command.bare] if command.bare else tables.render(result))
    return command.exit_status(result)


def _config_check(arguments: argparse.Namespace) -> int:
    import msgspec

    from rtcloud import config

    loaded = msgspec.to_builtins(config.load(vars(arguments)))
    for target in loaded["callbacks"]:
        target["key"] = "…" if target["key"] else ""
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
