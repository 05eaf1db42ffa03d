"""Join a room and say who comes, who goes, what is published, and how much of it arrives.

rtcloud admin usersig SDKAPPID watcher --data data
python examples/client/watch_room.py http://127.0.0.1:8080 SDKAPPID watcher USERSIG 1001
"""

import argparse
import asyncio
from collections import Counter

from rtcloud.client import ConnectError, Room, join


async def say_events(room: Room) -> None:
    while events := await room.events():
        for event in events:
            print(event, flush=True)


async def count_frames(room: Room) -> None:
    frames_of: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    said = loop.time()
    while frames := await room.frames():
        frames_of.update(frame.track for frame in frames)
        if loop.time() - said >= 1:
            latest = frames[-1]
            age = f", {(latest.arrival_us - latest.capture_us) / 1000:.0f} ms old" if latest.capture_us else ""
            print(f"frames in the last second: {dict(frames_of)}{age}", flush=True)
            frames_of.clear()
            said = loop.time()


async def main(arguments: argparse.Namespace) -> None:
    entering = join(arguments.server, arguments.sdk_app_id, arguments.user, arguments.user_sig, room_id=arguments.room)
    async with entering as room, asyncio.TaskGroup() as group:
        group.create_task(say_events(room))
        group.create_task(count_frames(room))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server")
    parser.add_argument("sdk_app_id", type=int)
    parser.add_argument("user")
    parser.add_argument("user_sig")
    parser.add_argument("room", type=int)
    try:
        asyncio.run(main(parser.parse_args()))
    except ConnectError as error:
        raise SystemExit(f"cannot join: {error}") from error
    except KeyboardInterrupt:
        pass
