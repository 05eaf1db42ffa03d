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
    # In a session of its own, so that a Ctrl-C reaches it once and through here: the first drains, a second ends it.
    rtmp = arguments[arguments.index("--rtmp-listen") + 1] if "--rtmp-listen" in arguments else ""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: process.terminate())
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        if line.startswith(READY):
            _introduce(line.removeprefix(READY).strip(), data, rtmp)
    return process.wait()


def _introduce(url: str, data: Path, rtmp: str) -> None:
    credentials = data / "credentials.json"
    application = json.loads(credentials.read_text())["sdk_app_id"]
    push = f"\n  RTMP          rtmp://{rtmp}/push/ROOM?sdkappid={application}&userid=USER&usersig=SIG" if rtmp else ""
    print(
        f"\n  demo page     {url}/demo"
        f"\n  WHIP, WHEP    {url}/demo/whep{push}"
        f"\n  API endpoint  {url}   (official SDKs: set endpoint and protocol)"
        f"\n  credentials   {credentials}   (application {application})"
        "\n  stop          Ctrl-C\n",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
