"""Automatic recording: what an application's setting asks of a task, and when a room needs one. Pure.

The robot has one name in every room, which nobody else may have (``AUTO_RECORDER``), so that a room's rows say whether
it is recorded. A room is recorded from the first thing that a person sends in it; a recording that ended because no
anchor came back in time is followed by another one when somebody sends again. One that ended otherwise (stopped by the
API, its robot removed, given up) is not, as long as that room lives: whoever ended it wanted that.
"""

from rtcloud.accounts.entities import AutoRecording
from rtcloud.callbacks.events import Origin
from rtcloud.egress.filing import MEDIA_TYPES, OUTPUT_FORMATS, VENDORS, CloudStorage, TencentVod
from rtcloud.egress.recording.request import (
    AudioParams,
    CloudVod,
    MixTranscodeParams,
    RecordingRequest,
    RecordParams,
    StorageParams,
    VideoParams,
)
from rtcloud.robots.entering import IDLE
from rtcloud.rooms.ids import AUTO_RECORDER, RoomRef
from rtcloud.tasks.standing import Standing

STREAM_TYPES = {"av": 0, "audio": 1, "video": 2}
#: Of a mixed one: a wide picture that one can read, at less than half the load of 30 per second.
MIXED = MixTranscodeParams(
    video_params=VideoParams(width=1280, height=720, fps=15, bit_rate=1_200_000, gop=10),
    audio_params=AudioParams(),
)


def is_needed(standing: Standing | None) -> bool | None:
    """Whether a room where somebody sends needs a task, by the last one of its robot there. None: never again."""
    if standing is None or standing.leave_code == IDLE:
        return True
    return False if standing.runs else None


def request_of(setting: AutoRecording, ref: RoomRef) -> RecordingRequest:
    is_single = setting.mode == "single"
    return RecordingRequest(
        sdk_app_id=ref.sdk_app_id,
        room_id=ref.room_id,
        room_id_type=1 if ref.numeric else 0,
        user_id=AUTO_RECORDER,
        record_params=RecordParams(
            record_mode=1 if is_single else 2,
            max_idle_time=setting.wait_s,
            stream_type=STREAM_TYPES[setting.recorded],
            output_format=OUTPUT_FORMATS.index((setting.format,)),
            av_merge=1 if is_single else 0,  # a file for each person, as documented
            max_media_file_duration=setting.file_minutes,
        ),
        storage_params=storage_of(setting),
        mix_transcode_params=MIXED,
        origin=Origin.AUTO,
    )


def storage_of(setting: AutoRecording) -> StorageParams:
    if not setting.bucket:
        return StorageParams(cloud_vod=CloudVod(tencent_vod=library_of(setting)))
    return StorageParams(cloud_storage=bucket_of(setting))


def bucket_of(setting: AutoRecording) -> CloudStorage:
    """Without keys: the operator's setting for the bucket has them, or the files stay with the server."""
    vendor = next(number for number, name in VENDORS.items() if name == setting.vendor)
    return CloudStorage(vendor=vendor, region=setting.region, bucket=setting.bucket, file_name_prefix=setting.prefix)


def library_of(setting: AutoRecording) -> TencentVod:
    return TencentVod(
        procedure=setting.procedure,
        expire_time=setting.expire_s,
        class_id=setting.class_id,
        media_type=MEDIA_TYPES.index((setting.format,)),
    )
