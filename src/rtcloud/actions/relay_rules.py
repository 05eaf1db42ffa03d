"""What the documents say about a relay's members together: one function for a new task and for an updated one.

The first fault found is raised, named by the path of its field. Ranges of single members were checked by the model.
"""

from collections.abc import Iterator

from rtcloud.apimodel import faults
from rtcloud.apimodel.model import Action
from rtcloud.egress.publishing.request import (
    CUSTOM,
    FLOATING,
    SCREEN_SHARING,
    AudioParams,
    Layout,
    LayoutParams,
    MixUserInfo,
    RelayRequest,
    SeiParams,
    UserMediaStream,
    VideoEncode,
    VideoParams,
    WaterMark,
)
from rtcloud.rooms.ids import RoomRef
from rtcloud.rtmp.address import AddressError, parse_address

WATERMARKS = 25
#: Rooms that one task may join (our bound): as many as there are places in a layout.
ROOMS = 16
SMALLEST = 16  # pixels of the canvas, each way: encoders take no less
LONGEST_CROP = 10_000
APP_DATA = 4096  # characters that it must be shorter than
_RESERVED_SEI = 244

#: A user with the path that names it.
Named = tuple[str, MixUserInfo]


def check(action: Action, request: RelayRequest) -> None:
    _check_form(action, request)
    _check_outputs(action, request)
    if request.audio_params is not None:
        _check_audio(action, request.audio_params)
    if request.video_params is not None:
        _check_video(action, request.video_params, is_single=request.is_single)
    _check_rooms(action, request)
    _check_robots(action, request)
    _check_messages(action, request.sei_params)
    _check_recording(action, request)


def rooms(request: RelayRequest) -> dict[RoomRef, str]:
    """Every room whose streams are relayed, the main room first, with the path that names it."""
    found = {request.ref: "RoomId"}
    for path, user in _wanted(request):
        found.setdefault(request.ref_of(user), path)
    return found


def pictures(request: RelayRequest) -> dict[str, str]:
    """The address of each picture that the request needs, with the path that names it (first)."""
    video = request.video_params
    if video is None or request.is_single:
        return {}
    found: dict[str, str] = {}
    if video.background_image_url:
        found[video.background_image_url] = "VideoParams.BackgroundImageUrl"
    for path, layout in _places(video.layout_params):
        for name, url in (
            ("BackgroundImageUrl", layout.background_image_url),
            ("TransparentUrl", layout.transparent_url),
        ):
            if url:
                found.setdefault(url, f"{path}.{name}")
    for index, mark in enumerate(video.water_mark_list):
        if mark.water_mark_type == 0 and mark.water_mark_image is not None:
            path = f"VideoParams.WaterMarkList.{index}.WaterMarkImage.WaterMarkUrl"
            found.setdefault(mark.water_mark_image.water_mark_url, path)
    return found


# single or mixed, and where to ------------------------------------------------------------------------------------


def _check_form(action: Action, request: RelayRequest) -> None:
    single = request.single_subscribe_params
    if not request.is_single:
        if single is not None:
            reason = "is for WithTranscoding 0; with 1 the streams of all are mixed"
            raise faults.invalid(action, "SingleSubscribeParams", reason)
        return
    if single is None:
        raise faults.missing(action, "SingleSubscribeParams", "SingleSubscribeParams is required: WithTranscoding is 0")
    user = single.user_media_stream.user_info
    if user is None:
        raise faults.missing(action, "SingleSubscribeParams.UserMediaStream.UserInfo")
    video, audio = request.video_params, request.audio_params
    if video is not None:
        if len(video.layout_params.mix_layout_list) > 1:
            path = "VideoParams.LayoutParams.MixLayoutList"
            raise faults.invalid(action, path, "cannot have several streams: WithTranscoding is 0, nothing is mixed")
        if video.water_mark_list:
            path = "VideoParams.WaterMarkList"
            raise faults.invalid(
                action, path, "needs WithTranscoding 1: a picture that is not transcoded stays as it is"
            )
    for index, other in enumerate(audio.subscribe_audio_list if audio is not None else ()):
        if other.user_info != user:
            path = f"AudioParams.SubscribeAudioList.{index}.UserInfo"
            raise faults.invalid(action, path, "is not the user of SingleSubscribeParams, and WithTranscoding is 0")


def _check_outputs(action: Action, request: RelayRequest) -> None:
    if not request.publish_cdn_params and not request.feed_back_room_params:
        raise faults.missing(
            action, "PublishCdnParams", "PublishCdnParams or FeedBackRoomParams is required: at least one output"
        )
    seen: set[str] = set()
    for index, output in enumerate(request.publish_cdn_params):
        path, url = f"PublishCdnParams.{index}.PublishCdnUrl", output.publish_cdn_url
        if url in seen:
            raise faults.invalid(action, path, "is in the list twice")
        seen.add(url)
        try:
            parse_address(url)
        except AddressError as error:
            raise faults.invalid(action, path, f"cannot be published to: {error}") from None


# sound ------------------------------------------------------------------------------------------------------------


def _check_audio(action: Action, audio: AudioParams) -> None:
    form, path = audio.audio_encode, "AudioParams.AudioEncode"
    if form.codec == 2 and form.channel != 2:
        raise faults.invalid(action, f"{path}.Channel", "must be 2: Codec is 2 (HE-AAC v2)")
    if form.codec in (1, 2) and form.sample_rate == 8000:
        raise faults.invalid(action, f"{path}.SampleRate", f"must not be 8000: Codec is {form.codec} (HE-AAC)")


# pictures ---------------------------------------------------------------------------------------------------------


def _check_video(action: Action, video: VideoParams, *, is_single: bool) -> None:
    canvas = video.video_encode
    for name, pixels in (("Width", canvas.width), ("Height", canvas.height)):
        if pixels < SMALLEST or pixels % 2:
            path = f"VideoParams.VideoEncode.{name}"
            raise faults.invalid(action, path, f"must be even and at least {SMALLEST}")
    if is_single:
        return
    _check_layout(action, video.layout_params, canvas)
    if len(video.water_mark_list) > WATERMARKS:
        path = "VideoParams.WaterMarkList"
        raise faults.out_of_range(action, path, f"must have at most {WATERMARKS} elements", too_large=True)
    for index, mark in enumerate(video.water_mark_list):
        _check_watermark(action, f"VideoParams.WaterMarkList.{index}", mark, canvas)


def _check_layout(action: Action, layout: LayoutParams, canvas: VideoEncode) -> None:
    path = "VideoParams.LayoutParams"
    if layout.mix_layout_mode == SCREEN_SHARING and (
        layout.max_video_user is None or layout.max_video_user.user_media_stream.user_info is None
    ):
        why = f"{path}.MaxVideoUser is required, with its UserInfo: MixLayoutMode is 2 (screen sharing)"
        raise faults.missing(action, f"{path}.MaxVideoUser", why)
    if layout.mix_layout_mode != CUSTOM:
        return
    if not layout.mix_layout_list:
        why = f"{path}.MixLayoutList is required: MixLayoutMode is 4 (custom)"
        raise faults.missing(action, f"{path}.MixLayoutList", why)
    seen: dict[UserMediaStream, str] = {}
    for at, place in _places(layout):
        _check_inside(
            action, at, (place.location_x, place.location_y, place.image_width, place.image_height), "Image", canvas
        )
        _check_place(action, at, place)
        stream = place.user_media_stream
        if stream is not None and stream.user_info is not None:
            if stream in seen:
                raise faults.invalid(action, f"{at}.UserMediaStream", f"is in {seen[stream]}, too")
            seen[stream] = at


def _check_place(action: Action, path: str, place: Layout) -> None:
    crop, drawn = place.custom_crop, place.background_custom_render
    if crop is not None:
        for axis, far in (("Width", crop.location_x + crop.width), ("Height", crop.location_y + crop.height)):
            if far > LONGEST_CROP:
                reason = f"with its Location must be at most {LONGEST_CROP}"
                raise faults.invalid(action, f"{path}.CustomCrop.{axis}", reason)
    if place.background_render_mode != 4:
        return
    path = f"{path}.BackgroundCustomRender"
    if drawn is None:
        raise faults.missing(action, path, f"{path} is required: BackgroundRenderMode is 4")
    for axis, size, most in (
        ("Width", drawn.width, place.image_width),
        ("Height", drawn.height, place.image_height),
    ):
        if size > most:
            raise faults.invalid(action, f"{path}.{axis}", f"must be at most the Image{axis}, {most}")
    if drawn.radius * 2 > min(drawn.width, drawn.height):
        raise faults.invalid(action, f"{path}.Radius", "must be at most half of the smaller of Width and Height")


def _check_watermark(action: Action, path: str, mark: WaterMark, canvas: VideoEncode) -> None:
    name, content = (
        ("WaterMarkImage", mark.water_mark_image)
        if mark.water_mark_type == 0
        else ("WaterMarkText", mark.water_mark_text)
    )
    path = f"{path}.{name}"
    if content is None:
        raise faults.missing(action, path, f"{path} is required: WaterMarkType is {mark.water_mark_type}")
    place = (content.location_x, content.location_y, content.water_mark_width, content.water_mark_height)
    _check_inside(action, path, place, "WaterMark", canvas)


def _check_inside(action: Action, path: str, place: tuple[int, int, int, int], name: str, canvas: VideoEncode) -> None:
    x, y, width, height = place
    for axis, size, far, most in (("Width", "X", x + width, canvas.width), ("Height", "Y", y + height, canvas.height)):
        if far > most:
            reason = f"with Location{size} must be at most the canvas's {axis}, {most}: it is {far}"
            raise faults.invalid(action, f"{path}.{name}{axis}", reason)


# rooms and people -------------------------------------------------------------------------------------------------


def _check_rooms(action: Action, request: RelayRequest) -> None:
    found = rooms(request)
    if len(found) > ROOMS:
        path = list(found.values())[ROOMS]
        raise faults.invalid(action, f"{path}.RoomId", f"is of a further room: one task relays at most {ROOMS}")
    video = request.video_params
    if video is None or request.is_single or video.layout_params.mix_layout_mode == CUSTOM:
        return
    for room, path in found.items():
        if room != request.ref:
            mode = video.layout_params.mix_layout_mode
            reason = f"must be the main room: MixLayoutMode is {mode}; only a custom layout (4) mixes several rooms"
            raise faults.invalid(action, f"{path}.RoomId", reason)


def _check_robots(action: Action, request: RelayRequest) -> None:
    """Robots have names of their own wherever they are: who enters a room twice is thrown out there."""
    agent = request.agent_params.user_id
    named = {(request.ref_of(user), user.user_id): path for path, user in _wanted(request)}
    for (_, user_id), path in named.items():
        if user_id == agent:
            raise faults.invalid(action, "AgentParams.UserId", f"is the robot's, and cannot be that of {path}, too")
    seen = {(room, agent): "AgentParams" for room in rooms(request)}
    for index, feedback in enumerate(request.feed_back_room_params):
        path = f"FeedBackRoomParams.{index}"
        key = RoomRef(request.sdk_app_id, feedback.room_id_type == 0, feedback.room_id), feedback.user_id
        other = seen.get(key) or named.get(key)
        if other is not None:
            raise faults.invalid(action, f"{path}.UserId", f"is the robot's, and cannot be that of {other}, too")
        seen[key] = path


def _wanted(request: RelayRequest) -> Iterator[Named]:
    """Users whose streams are asked for by name."""
    if request.is_single:
        single = request.single_subscribe_params
        if single is not None and single.user_media_stream.user_info is not None:
            yield "SingleSubscribeParams.UserMediaStream.UserInfo", single.user_media_stream.user_info
        return
    if request.video_params is not None:
        layout = request.video_params.layout_params
        if layout.mix_layout_mode == CUSTOM:
            for path, place in _places(layout):
                if place.user_media_stream is not None and place.user_media_stream.user_info is not None:
                    yield f"{path}.UserMediaStream.UserInfo", place.user_media_stream.user_info
        elif layout.mix_layout_mode in (FLOATING, SCREEN_SHARING) and layout.max_video_user is not None:
            user = layout.max_video_user.user_media_stream.user_info
            if user is not None:
                yield "VideoParams.LayoutParams.MaxVideoUser.UserMediaStream.UserInfo", user
    if request.audio_params is not None:
        for index, each in enumerate(request.audio_params.subscribe_audio_list):
            yield f"AudioParams.SubscribeAudioList.{index}.UserInfo", each.user_info


def _places(layout: LayoutParams) -> Iterator[tuple[str, Layout]]:
    """Of a custom layout; in the others the list means nothing."""
    if layout.mix_layout_mode == CUSTOM:
        for index, place in enumerate(layout.mix_layout_list):
            yield f"VideoParams.LayoutParams.MixLayoutList.{index}", place


# messages and files -----------------------------------------------------------------------------------------------


def _check_messages(action: Action, sei: SeiParams) -> None:
    layout, given = sei.layout_volume, sei.pass_through
    if layout is not None:
        path = "SeiParams.LayoutVolume"
        if len(layout.app_data) >= APP_DATA:
            raise faults.invalid(action, f"{path}.AppData", f"must be shorter than {APP_DATA} characters")
        if layout.payload_type == _RESERVED_SEI:
            raise faults.invalid(action, f"{path}.PayloadType", f"must not be {_RESERVED_SEI}, which is reserved")
    if given is not None:
        path = "SeiParams.PassThrough"
        if given.payload_type == _RESERVED_SEI or 5 < given.payload_type < 100:
            reason = f"must be 5, or from 100 to 254 without {_RESERVED_SEI}"
            raise faults.invalid(action, f"{path}.PayloadType", reason)
        if given.payload_type == 5 and not given.payload_uuid:
            raise faults.missing(action, f"{path}.PayloadUuid", f"{path}.PayloadUuid is required: PayloadType is 5")
        if given.payload_type == 5 and not _is_uuid(given.payload_uuid):
            raise faults.invalid(action, f"{path}.PayloadUuid", "must be 32 hexadecimal digits")


def _is_uuid(text: str) -> bool:
    return len(text) == 32 and all(letter in "0123456789abcdefABCDEF" for letter in text)


def _check_recording(action: Action, request: RelayRequest) -> None:
    record = request.record_params
    if record is None:
        return
    if record.stream_type == 2 and "aac" in record.record_format:
        raise faults.invalid(action, "RecordParams.RecordFormat", "is aac, but the StreamType records no audio")
    for wanted, medium, params in ((1, "audio", request.audio_params), (2, "video", request.video_params)):
        if params is None and record.stream_type == wanted:
            reason = f"records only {medium}, which the task does not relay"
            raise faults.invalid(action, "RecordParams.StreamType", reason)
    if request.audio_params is None and "aac" in record.record_format:
        raise faults.invalid(action, "RecordParams.RecordFormat", "is aac, but the task relays no audio")
