"""The parts of relay requests as a customer writes them, pictures to name in them, and what is told of outputs."""

import functools
import threading
from collections.abc import Iterable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import groupby
from pathlib import Path
from typing import Any, Self

from PIL import Image

from tests.kit.receiver import Received, Receiver

WIDTH, HEIGHT, FPS = 640, 360, 15
Fields = dict[str, Any]

# States of callback 401.
IDLE, CONNECTING, RUNNING, RECOVERING, FAILURE, DISCONNECTING = range(6)
FLOATING, SCREEN_SHARING, GRID, CUSTOM = range(1, 5)


def room_of(room: int | str) -> Fields:
    return {"RoomId": str(room), "RoomIdType": 0 if isinstance(room, int) else 1}


def audio(**fields: Any) -> Fields:
    return {"AudioEncode": {"SampleRate": 48_000, "Channel": 2, "BitRate": 64, "Codec": 0}, **fields}


def video(
    mode: int = GRID,
    *,
    width: int = WIDTH,
    height: int = HEIGHT,
    fps: int = FPS,
    layout: Fields | None = None,
    **fields: Any,
) -> Fields:
    return {
        "VideoEncode": {"Width": width, "Height": height, "Fps": fps, "BitRate": 800, "Gop": 1},
        "LayoutParams": {"MixLayoutMode": mode, **(layout or {})},
        **fields,
    }


def outputs(*urls: str) -> list[Fields]:
    return [{"PublishCdnUrl": url, "IsTencentCdn": 0} for url in urls]


def who(room: int | str, user_id: str) -> Fields:
    return {**room_of(room), "UserId": user_id}


def stream(room: int | str, user_id: str, *, screen: bool = False) -> Fields:
    return {"UserInfo": who(room, user_id), "StreamType": int(screen)}


def place(x: int, y: int, width: int, height: int, shown: Fields | None = None, **fields: Any) -> Fields:
    """Unnamed when nothing is said of what is shown there."""
    at = {"LocationX": x, "LocationY": y, "ImageWidth": width, "ImageHeight": height}
    return {**at, **({"UserMediaStream": shown} if shown else {}), **fields}


def places(*listed: Fields) -> Fields:
    return {"MixLayoutList": list(listed)}


def heard(room: int | str, user_id: str, level: int | None = None) -> Fields:
    return {"UserInfo": who(room, user_id), **({} if level is None else {"SoundLevel": level})}


def image_mark(url: str, x: int, y: int, width: int, height: int, **fields: Any) -> Fields:
    at = {"LocationX": x, "LocationY": y, "WaterMarkWidth": width, "WaterMarkHeight": height}
    return {"WaterMarkType": 0, "WaterMarkImage": {"WaterMarkUrl": url, **at, **fields}}


def text_mark(text: str, x: int, y: int, width: int, height: int, size: int, **fields: Any) -> Fields:
    at = {"LocationX": x, "LocationY": y, "WaterMarkWidth": width, "WaterMarkHeight": height}
    return {"WaterMarkType": 1, "WaterMarkText": {"Text": text, "FontSize": size, **at, **fields}}


class Shelf:
    """A web server with pictures: ``shelf.put(name, color, size)`` and then ``shelf.url(name)``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        handler = functools.partial(_Quiet, directory=str(self._folder))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def put(self, name: str, color: tuple[int, ...], size: tuple[int, int]) -> str:
        """A picture of one colour, with alpha when it has four parts. Its address."""
        Image.new("RGBA" if len(color) == 4 else "RGB", size, color).save(self._folder / name)
        return self.url(name)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/{name}"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def told(receiver: Receiver, task_id: str, url: str) -> list[Received]:
    """What was told of one output, in the order in which it happened."""
    found = receiver.of(401, lambda each: each.info["TaskId"] == task_id and each.payload["Url"] == url)
    return sorted(found, key=lambda each: int(each.info["EventMsTs"]))


def story(receiver: Receiver, task_id: str, url: str) -> list[int]:
    """The states of one output, without their repetitions."""
    return without_repetitions(each.payload["Status"] for each in told(receiver, task_id, url))


def without_repetitions(states: Iterable[int]) -> list[int]:
    return [state for state, _ in groupby(states)]
