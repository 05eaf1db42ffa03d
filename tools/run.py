"""``make run``: ``rtcloud serve`` with the demo page, and where to look once it is ready."""

import json
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
READY = "rtcloud ready "


def main(arguments: list[str]) -> int:
    data = Path(arguments[arguments.index("--data") + 1])
    command = [str(ROOT / ".venv/bin/rtcloud"), "serve", "--demo", "--allow-private", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    # The terminal sends Ctrl-C to the whole group: the server drains on its own, a second one ends it at once.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: process.terminate())
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        if line.startswith(READY):
            _introduce(line.removeprefix(READY).strip(), data)
    return process.wait()


def _introduce(url: str, data: Path) -> None:
    credentials = data / "credentials.json"
    application = json.loads(credentials.read_text())["sdk_app_id"]
    print(
        f"\n  demo page     {url}/demo"
        f"\n  API endpoint  {url}   (official SDKs: set endpoint and protocol)"
        f"\n  credentials   {credentials}   (application {application})"
        "\n  stop          Ctrl-C\n",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
