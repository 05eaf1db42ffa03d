"""The accepted relay request: what StartPublishCdnStream and its updates took, with the documented defaults filled in.

It crosses two seams as JSON with the API's own member names: the API writes it into the task row, the worker puts it
(``without_keys``) into the job's order. Values were validated before, so readers check nothing again; a ``RoomId`` that
the caller left out is the main room's; what the job need not see (UserSigs) is not in it.

Units and enumerations differ from the recording's; each member says its own.
"""

import hashlib
from dataclasses import replace
from typing import Literal

import msgspec

from rtcloud.egress import filing
from rtcloud.egress.filing import CloudStorage, Filing, Format, TencentVod
from rtcloud.rooms.ids import RoomRef

KIND = "relay"
#: Attributes of a robot that feeds a mix back into a room: whose task it is (``feedback_mark``), and the rooms of that
#: mix, as ``feedback_attributes`` writes them. Other relays leave such robots out (``casting``).
FEEDBACK = "rtcloud.feedback"
FEEDBACK_ROOMS = "rtcloud.feedback.rooms"


#: MixLayoutMode
FLOATING, SCREEN_SHARING, GRID, CUSTOM = 1, 2, 3, 4


class _Part(msgspec.Struct, frozen=True, rename="pascal", omit_defaults=True):
    pass


class AgentParams(_Part, frozen=True, kw_only=True):
    user_id: str
    max_idle_time: int = 30  # seconds without any anchor of the mix after which the task ends


class MixUserInfo(_Part, frozen=True, kw_only=True):
    user_id: str = ""  # "" only in an unnamed UserMediaStream
    room_id: str
    room_id_type: Literal[0, 1] = 0  # 0 numeric room (decimal text in room_id), 1 string room


class UserMediaStream(_Part, frozen=True, kw_only=True):
    """``user_info`` None: whoever comes next."""

    user_info: MixUserInfo | None = None
    stream_type: Literal[0, 1] = 0  # 0 main (camera), 1 aux (screen)


class AudioEncode(_Part, frozen=True, kw_only=True):
    sample_rate: int = 48_000  # Hz
    channel: int = 2
    bit_rate: int = 64  # kbit/s
    codec: int = 0  # 1 and 2 (HE-AAC) are encoded as AAC-LC


class UserInfoParams(_Part, frozen=True, kw_only=True):
    user_info: MixUserInfo
    sound_level: int = 100  # 0 to 100, per cent; of the allowlist only


class AudioParams(_Part, frozen=True, kw_only=True):
    audio_encode: AudioEncode = AudioEncode()
    subscribe_audio_list: tuple[UserInfoParams, ...] = ()  # empty: everyone
    un_subscribe_audio_list: tuple[UserInfoParams, ...] = ()  # wins over the other


class VideoEncode(_Part, frozen=True, kw_only=True):
    width: int  # pixels, even
    height: int
    fps: int
    bit_rate: int  # kbit/s
    gop: int  # seconds


class CustomCrop(_Part, frozen=True, kw_only=True):
    location_x: int
    location_y: int
    width: int
    height: int


class BackgroundCustomRender(_Part, frozen=True, kw_only=True):
    width: int
    height: int
    radius: int = 0


class Layout(_Part, frozen=True, kw_only=True):
    user_media_stream: UserMediaStream | None = None
    image_width: int = 0
    image_height: int = 0
    location_x: int = 0
    location_y: int = 0
    z_order: int = msgspec.field(default=0, name="ZOrder")
    render_mode: int = 0  # 0 crop, 1 fit, 2 fit with black bars
    background_color: str = msgspec.field(default="", name="BackGroundColor")  # 0xRRGGBB
    background_image_url: str = ""
    custom_crop: CustomCrop | None = None
    background_render_mode: int = 3  # 0 crop, 1 fit, 2 fit with black bars, 3 stretch, 4 custom
    transparent_url: str = ""
    background_custom_render: BackgroundCustomRender | None = None
    background_color_mode: int = msgspec.field(default=0, name="BackGroundColorMode")  # bit 0 holders, bit 1 streams


class MaxVideoUser(_Part, frozen=True, kw_only=True):
    user_media_stream: UserMediaStream


class LayoutParams(_Part, frozen=True, kw_only=True):
    mix_layout_mode: int = 1  # 1 floating, 2 screen sharing, 3 grid, 4 custom
    pure_audio_hold_place_mode: int = 0
    mix_layout_list: tuple[Layout, ...] = ()
    max_video_user: MaxVideoUser | None = None
    render_mode: int | None = None  # None: crop, but the big picture of screen sharing is fitted


class WaterMarkImage(_Part, frozen=True, kw_only=True):
    water_mark_url: str
    water_mark_width: int
    water_mark_height: int
    location_x: int
    location_y: int
    z_order: int = msgspec.field(default=0, name="ZOrder")
    dynamic_pos_type: int = 0  # 0 fixed, 1 random, 2 bouncing


class WaterMarkText(_Part, frozen=True, kw_only=True):
    text: str
    water_mark_width: int
    water_mark_height: int
    location_x: int
    location_y: int
    font_size: int
    font_color: str = "0xFFFFFF"
    background_color: str = msgspec.field(default="", name="BackGroundColor")
    dynamic_pos_type: int = 0
    z_order: int = msgspec.field(default=0, name="ZOrder")
    font: str = "Tencent"  # or SourceHanSans


class WaterMark(_Part, frozen=True, kw_only=True):
    water_mark_type: int = 0  # 0 image, 1 text
    water_mark_image: WaterMarkImage | None = None
    water_mark_text: WaterMarkText | None = None


class VideoParams(_Part, frozen=True, kw_only=True):
    video_encode: VideoEncode
    layout_params: LayoutParams = LayoutParams()
    background_color: str = msgspec.field(default="", name="BackGroundColor")
    background_image_url: str = ""
    water_mark_list: tuple[WaterMark, ...] = ()
    background_render_mode: int = 2  # 0 crop, 1 fit with black bars, 2 stretch


class SingleSubscribeParams(_Part, frozen=True, kw_only=True):
    user_media_stream: UserMediaStream


class PublishCdnParam(_Part, frozen=True, kw_only=True):
    publish_cdn_url: str
    is_tencent_cdn: int = 1


class FeedBackRoomParams(_Part, frozen=True, kw_only=True):
    room_id: str
    room_id_type: Literal[0, 1] = 0
    user_id: str


class LayoutVolume(_Part, frozen=True, kw_only=True):
    app_data: str = ""
    payload_type: int = 100
    interval: int = 1000  # ms
    follow_idr: int = 0


class PassThrough(_Part, frozen=True, kw_only=True):
    payload_content: str
    payload_type: int  # 5 or 100 to 254 without 244
    payload_uuid: str = ""  # 32 hexadecimal digits, with type 5
    interval: int = 1000
    follow_idr: int = 0


class SeiParams(_Part, frozen=True, kw_only=True):
    layout_volume: LayoutVolume | None = None
    pass_through: PassThrough | None = None


class McuCloudVod(_Part, frozen=True, kw_only=True):
    mcu_tencent_vod: TencentVod = TencentVod()


class StorageParams(_Part, frozen=True, kw_only=True):
    """One of the two."""

    cloud_storage: CloudStorage | None = None
    mcu_cloud_vod: McuCloudVod | None = None


class RecordParams(_Part, frozen=True, kw_only=True):
    """Only of UniRecord 3: without one nothing is recorded."""

    record_format: tuple[Format, ...] = ("mp4",)  # not both mp4 and aac
    max_media_file_duration: int = 1440  # minutes
    stream_type: int = 0  # 0 audio and video, 1 audio, 2 video; together with what is relayed
    user_define_record_prefix: str = ""  # with McuCloudVod
    mcu_storage_params: StorageParams

    @property
    def filing(self) -> Filing:
        """A relay's files are told of as those of a recording that was asked for."""
        storage = self.mcu_storage_params
        if storage.mcu_cloud_vod is not None:
            vod = storage.mcu_cloud_vod.mcu_tencent_vod
            named = msgspec.structs.replace(vod, user_define_record_id=self.user_define_record_prefix)
            return Filing(self.record_format, named)
        assert storage.cloud_storage is not None
        return Filing(self.record_format, storage.cloud_storage)


class RelayRequest(_Part, frozen=True, kw_only=True):
    sdk_app_id: int
    room_id: str
    room_id_type: Literal[0, 1] = 0
    agent_params: AgentParams
    with_transcoding: Literal[0, 1] = 1
    audio_params: AudioParams | None = None  # None: only video
    video_params: VideoParams | None = None  # None: only audio
    single_subscribe_params: SingleSubscribeParams | None = None  # with with_transcoding 0
    publish_cdn_params: tuple[PublishCdnParam, ...] = ()
    sei_params: SeiParams = SeiParams()
    feed_back_room_params: tuple[FeedBackRoomParams, ...] = ()
    record_params: RecordParams | None = None
    #: ours: of the last update; -1 before the first
    sequence_number: int = -1
    #: ours: how many updates named addresses; one that failed is tried again when this grows
    publish_revision: int = 0
    #: ours: the file below the images directory for each address (or watermark) that the request names
    images: dict[str, str] = {}
    #: ours: an application's setting when the task began
    video_codec: Literal["h264", "h265"] = "h264"
    #: ours: where the addresses of its files begin, see ``Filing``
    files_at: str = ""

    @property
    def filing(self) -> Filing | None:
        """What is told of the files, if there are any."""
        return None if self.record_params is None else replace(self.record_params.filing, address=self.files_at)

    @property
    def numeric(self) -> bool:
        return self.room_id_type == 0

    @property
    def ref(self) -> RoomRef:
        return RoomRef(self.sdk_app_id, self.numeric, self.room_id)

    @property
    def is_single(self) -> bool:
        return self.with_transcoding == 0

    def ref_of(self, user: MixUserInfo) -> RoomRef:
        """The room where this user is."""
        return RoomRef(self.sdk_app_id, user.room_id_type == 0, user.room_id)

    @property
    def named(self) -> tuple[MixUserInfo, ...]:
        """Whom the request names as someone to see or to hear."""
        streams: list[UserMediaStream | None] = []
        users: list[MixUserInfo] = []
        if self.is_single:
            if self.single_subscribe_params is not None:
                streams.append(self.single_subscribe_params.user_media_stream)
        else:
            if self.video_params is not None:
                layout = self.video_params.layout_params
                if layout.mix_layout_mode == CUSTOM:
                    streams += [place.user_media_stream for place in layout.mix_layout_list]
                elif layout.mix_layout_mode in (FLOATING, SCREEN_SHARING) and layout.max_video_user is not None:
                    streams.append(layout.max_video_user.user_media_stream)
            if self.audio_params is not None:
                users += [listed.user_info for listed in self.audio_params.subscribe_audio_list]
        shown = [stream.user_info for stream in streams if stream is not None and stream.user_info is not None]
        return tuple(user for user in (*shown, *users) if user.user_id)

    @property
    def refs(self) -> tuple[RoomRef, ...]:
        """The rooms that the robot joins: the main one first."""
        return tuple(dict.fromkeys((self.ref, *(self.ref_of(user) for user in self.named))))


def feedback_mark(task_id: str) -> str:
    """A task as everybody in a room may know it. Not its id: who knows that has the keys of its files in the media
    library."""
    return hashlib.sha256(f"rtcloud feedback\n{task_id}".encode()).hexdigest()[:32]


def feedback_attributes(request: RelayRequest, task_id: str) -> dict[str, str]:
    """What a robot that feeds this task's mix into a room is known by."""
    rooms = msgspec.json.encode([ref.ordering for ref in request.refs]).decode()
    return {FEEDBACK: feedback_mark(task_id), FEEDBACK_ROOMS: rooms}


def encode(request: RelayRequest) -> bytes:
    """What the task row holds (sealed there)."""
    return msgspec.json.encode(request)


def decode(data: bytes) -> RelayRequest:
    """Of a task row or of a job's order."""
    return msgspec.json.decode(data, type=RelayRequest)


def without_keys(request: RelayRequest) -> RelayRequest:
    """What a job may see."""
    return with_keys(request, "", "")


def with_keys(request: RelayRequest, access_key: str, secret_key: str) -> RelayRequest:
    """Those in place of its own, if it has any."""
    recording = request.record_params
    if recording is None:
        return request
    params = recording.mcu_storage_params
    storage = filing.with_keys(params.cloud_storage, access_key, secret_key)
    keyed = msgspec.structs.replace(params, cloud_storage=storage)
    recorded = msgspec.structs.replace(recording, mcu_storage_params=keyed)
    return msgspec.structs.replace(request, record_params=recorded)
