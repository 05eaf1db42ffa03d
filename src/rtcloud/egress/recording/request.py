"""The accepted recording request: what CreateCloudRecording took, with the documented defaults filled in.

It crosses three seams as JSON with the API's own member names: the API writes it into the task row, the worker puts
it (``without_keys``) into the job's order, and the uploader reads the storage part of the row. Values were validated
before: a struct made by ``accepted`` is inside every documented range, so its readers check nothing again.

Units and enumerations differ from the relay's; each member says its own.
"""

from typing import Literal

import msgspec

from rtcloud.callbacks.events import Origin
from rtcloud.egress import filing
from rtcloud.egress.filing import MEDIA_TYPES, OUTPUT_FORMATS, CloudStorage, Filing, TencentVod
from rtcloud.egress.recording.appearance import MixLayoutParams

KIND = "recording"
SAMPLE_RATES_HZ = {1: 48_000, 2: 44_100, 3: 16_000}
PREFIX_MARK = ".*$"  # ["1.*$"] names every user whose id starts with 1


class SubscribeStreamUserIds(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """Whose streams are recorded. Per medium an allowlist or a blocklist, never both; none of them means everyone."""

    subscribe_audio_user_ids: tuple[str, ...] = ()
    un_subscribe_audio_user_ids: tuple[str, ...] = ()
    subscribe_video_user_ids: tuple[str, ...] = ()
    un_subscribe_video_user_ids: tuple[str, ...] = ()

    def wants_audio(self, user_id: str) -> bool:
        return _wants(user_id, self.subscribe_audio_user_ids, self.un_subscribe_audio_user_ids)

    def wants_video(self, user_id: str) -> bool:
        return _wants(user_id, self.subscribe_video_user_ids, self.un_subscribe_video_user_ids)


class RecordParams(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    record_mode: int  # 1 single streams, 2 mixed
    max_idle_time: int = 30  # seconds without any anchor after which the task ends with LeaveCode 99
    stream_type: int = 0  # 0 audio and video, 1 audio only, 2 video only
    subscribe_stream_user_ids: SubscribeStreamUserIds = SubscribeStreamUserIds()
    output_format: int = 0  # an index of OUTPUT_FORMATS; no effect with CloudVod, whose MediaType says it
    av_merge: int = 0  # of single-stream recording only
    max_media_file_duration: int = 1440  # minutes; an MP4 or AAC file is split there and at 2 GB
    media_id: int = 0  # 0 main and sub stream, 1 main, 2 sub (screen)
    fill_type: int = 0  # when a video stops: 0 its last picture stays, 1 black
    subscribe_ability: int = 0  # 1: streams fed back by mixing robots are recorded too

    @property
    def wants_main(self) -> bool:
        return self.media_id in (0, 1)

    @property
    def wants_sub(self) -> bool:
        return self.media_id in (0, 2)


class VideoParams(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    width: int = 360  # pixels; may be odd: encoders round to even
    height: int = 640
    fps: int = 15
    bit_rate: int = 550_000  # bit/s
    gop: int = 10  # seconds between keyframes


class AudioParams(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    sample_rate: int = 1  # an index: see sample_rate_hz
    channel: int = 2
    bit_rate: int = 64_000  # bit/s

    @property
    def sample_rate_hz(self) -> int:
        return SAMPLE_RATES_HZ[self.sample_rate]


class MixTranscodeParams(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    video_params: VideoParams = VideoParams()
    audio_params: AudioParams = AudioParams()


class CloudVod(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    tencent_vod: TencentVod = TencentVod()


class StorageParams(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """One of the two."""

    cloud_storage: CloudStorage | None = None
    cloud_vod: CloudVod | None = None


class RecordingRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Without UserSig and PrivateMapKey: the signed call admitted the robot, which joins with a token of ours."""

    sdk_app_id: int
    room_id: str
    room_id_type: Literal[0, 1] = 1  # 0 string room, 1 numeric room (decimal text in room_id)
    user_id: str  # the robot
    record_params: RecordParams
    storage_params: StorageParams
    mix_transcode_params: MixTranscodeParams = MixTranscodeParams()
    mix_layout_params: MixLayoutParams = MixLayoutParams()
    resource_expired_hour: int = 72
    #: Of pictures that the layout names: address → name of the file below the images directory. One that could not be
    #: had is not in it, and nothing stands in its place.
    images: dict[str, str] = {}
    #: ours: who asked for it, a signed call or the application's settings
    origin: Origin = Origin.API
    #: ours: where the addresses of its files begin, see ``Filing``
    files_at: str = ""

    @property
    def filing(self) -> Filing:
        storage, params = self.storage_params, self.record_params
        if storage.cloud_vod is not None:
            vod = storage.cloud_vod.tencent_vod
            return Filing(MEDIA_TYPES[vod.media_type], vod, self.origin, self.files_at)
        assert storage.cloud_storage is not None
        return Filing(OUTPUT_FORMATS[params.output_format], storage.cloud_storage, self.origin, self.files_at)

    @property
    def numeric(self) -> bool:
        return self.room_id_type == 1

    @property
    def is_single(self) -> bool:
        return self.record_params.record_mode == 1

    @property
    def has_picture(self) -> bool:
        """Whether a picture is mixed."""
        return self.record_params.record_mode == 2 and self.record_params.stream_type != 1

    @property
    def pictures(self) -> tuple[str, ...]:
        """The address of each picture that is needed."""
        return self.mix_layout_params.pictures if self.has_picture else ()


def encode(request: RecordingRequest) -> bytes:
    """What the task row holds (sealed there)."""
    return msgspec.json.encode(request)


def decode(data: bytes) -> RecordingRequest:
    """Of a task row or of a job's order."""
    return msgspec.json.decode(data, type=RecordingRequest)


def without_keys(request: RecordingRequest) -> RecordingRequest:
    """What a job may see."""
    return with_keys(request, "", "")


def with_keys(request: RecordingRequest, access_key: str, secret_key: str) -> RecordingRequest:
    """Those in place of its own, if it has any."""
    params = request.storage_params
    storage = filing.with_keys(params.cloud_storage, access_key, secret_key)
    return msgspec.structs.replace(request, storage_params=msgspec.structs.replace(params, cloud_storage=storage))


def _wants(user_id: str, allowed: tuple[str, ...], blocked: tuple[str, ...]) -> bool:
    if allowed:
        return any(_names(entry, user_id) for entry in allowed)
    return not any(_names(entry, user_id) for entry in blocked)


def _names(entry: str, user_id: str) -> bool:
    if entry.endswith(PREFIX_MARK) and entry != user_id:
        return user_id.startswith(entry.removesuffix(PREFIX_MARK))
    return entry == user_id
