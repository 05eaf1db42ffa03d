"""The demo page's recordings: started and stopped by the cloud API, found again on disk.

The page's server is an ordinary customer of the API: it signs a request to the endpoint as any program would. Files go
to the bucket ``demo``; the prefix carries the kind and the text of the room (``numeric/1001``, ``text/<base64url>``),
so that the list needs no memory of its own: ``DIR/files/demo/{kind}/{room}/{TaskId}/{file}``. Which tasks still run is
known in memory only, at most ``MAX_RUNNING`` of them.
"""

import base64
import binascii
import secrets
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from rtcloud.accounts.entities import Credentials
from rtcloud.accounts.usersig import make_user_sig
from rtcloud.clock import Clock
from rtcloud.errors import ServiceError
from rtcloud.gateway.signing import tc3
from rtcloud.rooms.ids import RoomRef

BUCKET = "demo"
REGION = "ap-singapore"
VERSION = "2019-07-22"
SERVICE = "trtc"
ROBOT_SIG_S = 86_400
MAX_RUNNING = 100
CHECKED_AT_ONCE = 5
MAX_LISTED = 200
ANSWER_S = 20.0


class Recording(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One line of the page's list. ``mp4`` and ``hls`` are addresses on this server."""

    task_id: str
    room: str
    running: bool
    began_ms: int
    size: int
    mp4: str | None = None
    hls: str | None = None


class _Failure(msgspec.Struct, rename="pascal"):
    code: str
    message: str


class _Response(msgspec.Struct, rename="pascal"):
    error: _Failure | None = None
    task_id: str = ""


class _Envelope(msgspec.Struct, rename="pascal"):
    response: _Response


class DemoRecordings:
    def __init__(self, credentials: Callable[[], Credentials], files: Path, clock: Clock) -> None:
        self._credentials = credentials
        self._place = files / BUCKET
        self._clock = clock
        self._running: dict[str, tuple[str, int]] = {}  # task → room's label, began

    @property
    def place(self) -> Path:
        return self._place

    async def start(self, room: RoomRef) -> str:
        """The new task's id. ServiceError with the API's own code and message."""
        await self._forget_ended()
        if len(self._running) >= MAX_RUNNING:
            raise ServiceError("FailedOperation.RestrictedConcurrency", "too many recordings of the demo page run")
        robot = f"recorder_{secrets.token_hex(6)}"
        known = self._credentials()
        sig = make_user_sig(
            known.sdk_app_id, known.sdk_secret_key, robot, now_ms=self._clock.now_ms(), expire_s=ROBOT_SIG_S
        )
        answer = await self._ask(
            "CreateCloudRecording",
            {
                "SdkAppId": known.sdk_app_id,
                "RoomId": room.room_id,
                "RoomIdType": 1 if room.numeric else 0,
                "UserId": robot,
                "UserSig": sig,
                "RecordParams": {"RecordMode": 2, "StreamType": 0, "MaxIdleTime": 60, "OutputFormat": 1},
                "StorageParams": {
                    "CloudStorage": {
                        "Vendor": 0,
                        "Region": REGION,
                        "Bucket": BUCKET,
                        "AccessKey": "none",
                        "SecretKey": "none",
                        "FileNamePrefix": list(prefix_of(room)),
                    }
                },
                "MixTranscodeParams": {
                    "VideoParams": {"Width": 1280, "Height": 720, "Fps": 30, "BitRate": 1_500_000, "Gop": 2},
                    "AudioParams": {"SampleRate": 1, "Channel": 2, "BitRate": 96_000},
                },
                "MixLayoutParams": {"MixLayoutMode": 3},
            },
        )
        self._running[answer.task_id] = (room.room_id, self._clock.now_ms())
        return answer.task_id

    async def _forget_ended(self) -> None:
        """Recordings that ended by themselves: nobody was there, or the room was dismissed. A few of the oldest."""
        for task_id in list(self._running)[:CHECKED_AT_ONCE]:
            try:
                fields = {"SdkAppId": self._credentials().sdk_app_id, "TaskId": task_id}
                await self._ask("DescribeCloudRecording", fields)
            except ServiceError as error:
                if error.code == "ResourceNotFound":
                    self._running.pop(task_id, None)

    async def stop(self, task_id: str) -> None:
        """A task that has ended already is no failure: that is what was asked for."""
        self._running.pop(task_id, None)
        try:
            await self._ask("DeleteCloudRecording", {"SdkAppId": self._credentials().sdk_app_id, "TaskId": task_id})
        except ServiceError as error:
            if error.code != "ResourceNotFound":
                raise

    def list(self) -> list[Recording]:
        """Newest first. Reads directories: call it in a thread."""
        found = {each.task_id: each for each in list_recordings(self._place)}
        for task_id, (room, began_ms) in list(self._running.items()):
            stored = found.get(task_id)
            if stored is not None and stored.mp4 is not None:
                del self._running[task_id]  # the MP4 comes last
                continue
            size = stored.size if stored else 0
            found[task_id] = Recording(task_id=task_id, room=room, running=True, began_ms=began_ms, size=size)
        return sorted(found.values(), key=lambda each: -each.began_ms)[:MAX_LISTED]

    async def _ask(self, action: str, fields: dict[str, object]) -> _Response:
        body = msgspec.json.encode(fields)
        known = self._credentials()
        endpoint = known.endpoint.rstrip("/")
        now_s = self._clock.now_ms() // 1000
        headers = signed_headers(known, urlsplit(endpoint).netloc, action, body, now_s)
        try:
            async with httpx.AsyncClient(timeout=ANSWER_S, trust_env=False) as client:
                answer = await client.post(f"{endpoint}/", content=body, headers=headers)
            response = msgspec.json.decode(answer.content, type=_Envelope).response
        except (httpx.HTTPError, msgspec.MsgspecError) as error:
            raise ServiceError("InternalError", f"{action} was not answered: {type(error).__name__}") from error
        if response.error is not None:
            raise ServiceError(response.error.code, response.error.message)
        return response


def prefix_of(room: RoomRef) -> tuple[str, str]:
    """Parts of FileNamePrefix, made of the characters that it allows."""
    if room.numeric:
        return "numeric", room.room_id
    return "text", base64.urlsafe_b64encode(room.room_id.encode()).decode().rstrip("=")


def label_of(kind: str, part: str) -> str:
    """The room of a prefix, as people wrote it; the part itself when it is none of ours."""
    if kind != "text":
        return part
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()
    except (binascii.Error, ValueError):
        return part


def list_recordings(place: Path) -> list[Recording]:
    found = []
    for task in place.glob("*/*/*/"):
        files = [each for each in task.iterdir() if each.is_file()]
        if not files:
            continue
        mp4 = next((each for each in files if each.suffix == ".mp4"), None)
        hls = next((each for each in sorted(files) if each.suffix == ".m3u8"), None)
        address = "/demo/files/" + quote(task.relative_to(place).as_posix())
        found.append(
            Recording(
                task_id=task.name,
                room=label_of(task.parent.parent.name, task.parent.name),
                running=False,
                began_ms=int(min(each.stat().st_mtime for each in files) * 1000),
                size=mp4.stat().st_size if mp4 else sum(each.stat().st_size for each in files),
                mp4=f"{address}/{quote(mp4.name)}" if mp4 else None,
                hls=f"{address}/{quote(hls.name)}" if hls else None,
            )
        )
    return found


def signed_headers(credentials: Credentials, host: str, action: str, body: bytes, now_s: int) -> dict[str, str]:
    """A JSON POST signed with TC3-HMAC-SHA256, as the official SDKs do it."""
    signed = {"content-type": "application/json; charset=utf-8", "host": host}
    authorization = tc3.sign(
        credentials.secret_id, credentials.secret_key, service=SERVICE, headers=signed, payload=body, seconds=now_s
    )
    return {
        "Content-Type": signed["content-type"],
        "Host": host,
        "X-TC-Action": action,
        "X-TC-Version": VERSION,
        "X-TC-Region": REGION,
        "X-TC-Timestamp": str(now_s),
        "Authorization": authorization,
    }
