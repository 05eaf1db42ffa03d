"""``make demo``: a call of two headless people, recorded through the official Python cloud SDK, on its own.

Starts a server on an empty data directory, lets two Chromium pages with known moving pictures and tones talk, records
the room, receives the callbacks on a small local server, and prints what came of it. Exit status 0 when all of it is as
it must be: every callback of the story came with a right signature, and the file shows and plays both people.
"""

import asyncio
import shutil
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from tests.kit import probes  # noqa: E402  # the folder is not installed
from tests.kit.browser import BLUE, RED, Caller, PageFiles, chromium, is_near  # noqa: E402
from tests.kit.cloud import BUCKET, Cloud  # noqa: E402
from tests.kit.receiver import Receiver  # noqa: E402
from tests.kit.server import Server  # noqa: E402

DATA = ROOT / "data" / "demo"
ROOM = 1001
TALK_S = 10.0
ALICE_HZ, BOB_HZ = 440, 700
LEFT, RIGHT = probes.Region(0.1, 0.3, 0.4, 0.75), probes.Region(0.6, 0.3, 0.9, 0.75)
STORY = {
    101: "room created",
    103: "user entered",
    201: "video started",
    203: "audio started",
    301: "recorder started",
    303: "upload started",
    307: "first segment cut",
    304: "index uploaded",
    302: "recorder stopped",
    305: "upload finished",
    310: "MP4 uploaded",
    104: "user left",
    102: "room closed",
}


@dataclass(frozen=True)
class Held:
    task_id: str
    begin_ms: int
    deleted_ms: int


def main() -> int:
    # The SDK asks for the time in a way that newer Pythons warn about.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    began = time.monotonic()
    shutil.rmtree(DATA, ignore_errors=True)
    problems: list[str] = []
    with Server(DATA) as server, Receiver() as receiver:
        say(f"server      {server.url}, data in {DATA}")
        server.set_callbacks(receiver.url, receiver.key)
        say(f"callbacks   go to {receiver.url}")
        try:
            held = asyncio.run(hold_call(server, receiver))
        except (AssertionError, RuntimeError) as error:
            print(f"\nthe call failed: {error}\n\nthe server's last words:\n{server.tail(20)}", file=sys.stderr)
            return 1
        problems += show_callbacks(receiver)
        problems += show_file(server.data / "files" / BUCKET / "calls" / held.task_id, held)
    print()
    for problem in problems:
        print(f"  WRONG: {problem}")
    print(f"{'Not all is well.' if problems else 'All is well.'} ({time.monotonic() - began:.0f} s)")
    return 1 if problems else 0


def say(text: str) -> None:
    print(f"  {text}", flush=True)


async def hold_call(server: Server, receiver: Receiver) -> Held:
    cloud = Cloud(server)
    files = PageFiles()
    async with chromium() as browser:
        alice = await Caller.open(browser, files.url, "alice")
        bob = await Caller.open(browser, files.url, "bob")
        for caller, color, hz in ((alice, RED, ALICE_HZ), (bob, BLUE, BOB_HZ)):
            took = await caller.join(server, ROOM)
            await caller.publish(color=color, hz=hz, codec="h264")
            say(f"{caller.user_id:<11} joined room {ROOM} in {took:.0f} ms: a picture in {color}, a tone of {hz} Hz")
        for caller, other in ((alice, "bob"), (bob, "alice")):
            stats = await caller.sees(other)
            await caller.hears(other)
            size = f"{stats['frameWidth']}×{stats['frameHeight']}"
            say(f"{caller.user_id:<11} sees and hears {other}: {stats['mimeType']} {size}")
        task_id = await asyncio.to_thread(cloud.start_recording, ROOM)
        say(f"recording   task {task_id}")
        first = await receiver.expect(307, within=20)
        begin_ms = int(first.payload["BeginTimeStamp"])
        say(f"            they talk for {TALK_S:.0f} s …")
        await asyncio.sleep(max(0.0, begin_ms / 1000 + TALK_S - time.time()))
        deleted_ms = time.time_ns() // 1_000_000
        await asyncio.to_thread(cloud.stop_recording, task_id)
        await receiver.expect(310, within=30)
        for caller in (alice, bob):
            await caller.call("leave")
        await receiver.expect(102, within=15)
    files.close()
    return Held(task_id, begin_ms, deleted_ms)


def show_callbacks(receiver: Receiver) -> list[str]:
    print("\n  callbacks, in the order they came")
    for each in receiver.received:
        signature = "signature right" if each.signed else "SIGNATURE WRONG"
        say(f"  {each.type}  {STORY.get(each.type, '?'):<18} {each.user_id:<10} {signature}")
    missing = [f"callback {number} ({name}) did not come" for number, name in STORY.items() if not receiver.of(number)]
    forged = [f"callback {each.type} is not signed" for each in receiver.received if not each.signed]
    return missing + forged


def show_file(folder: Path, held: Held) -> list[str]:
    print("\n  the recording")
    found = sorted(folder.glob("*.mp4"))
    if not found:
        return [f"there is no MP4 in {folder}"]
    (path,) = found
    about: dict[str, Any] = probes.ffprobe(path)
    length = float(about["format"]["duration"])
    wanted = (held.deleted_ms - held.begin_ms) / 1000
    say(f"  file      {path}")
    say(f"  duration  {length:.2f} s (from the first picture to Delete: {wanted:.2f} s)")
    for stream in about["streams"]:
        size = f"{stream['width']}×{stream['height']}" if "width" in stream else f"{stream['sample_rate']} Hz"
        say(f"  stream    {stream['codec_type']}: {stream['codec_name']} {size}")
    picture = probes.picture_at(path, length / 2)
    left, right = probes.mean_color(picture, LEFT), probes.mean_color(picture, RIGHT)
    samples, rate, _ = probes.sound(path)
    tones = {hz: probes.tone_level(samples, rate, hz) for hz in (ALICE_HZ, BOB_HZ)}
    say(f"  pictures  left {left}, right {right}")
    say(f"  tones     {', '.join(f'{hz} Hz at {level:.0f} dB' for hz, level in tones.items())}")
    checks = {
        f"it lasts {length:.2f} s, not {wanted:.2f} s": abs(length - wanted) <= 0.3,
        "it has not one picture and one sound": sorted(probes.codecs(path)) == ["audio", "video"],
        "alice is not on the left": is_near(left, RED),
        "bob is not on the right": is_near(right, BLUE),
        "a tone is missing": min(tones.values()) > -35,
    }
    return [problem for problem, fine in checks.items() if not fine]


if __name__ == "__main__":
    sys.exit(main())
