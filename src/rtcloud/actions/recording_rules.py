"""What the documents say about a recording's members together: one place for a new task and for a modified one.

The first fault found is raised, named by the path of its field. Ranges of single members were checked by the model.
What a mode does not use is not looked at: MixLayoutParams of single streams, MixLayoutList of a template.
"""

from rtcloud.apimodel import faults
from rtcloud.apimodel.model import Action
from rtcloud.egress.recording.appearance import CHARS, IMAGE, MixLayoutParams, WaterMark
from rtcloud.egress.recording.request import RecordingRequest, SubscribeStreamUserIds, VideoParams

_LAYOUT = "MixLayoutParams"


def check_users(action: Action, users: SubscribeStreamUserIds, path: str) -> None:
    """``path`` is that of the four lists' owner."""
    for medium, allowed, blocked in (
        ("Audio", users.subscribe_audio_user_ids, users.un_subscribe_audio_user_ids),
        ("Video", users.subscribe_video_user_ids, users.un_subscribe_video_user_ids),
    ):
        if allowed and blocked:
            reason = "cannot be combined with the blocklist of the same medium"
            raise faults.invalid(action, f"{path}.Subscribe{medium}UserIds", reason)


def check_layout(action: Action, request: RecordingRequest) -> None:
    if not request.has_picture:
        return
    params, canvas = request.mix_layout_params, request.mix_transcode_params.video_params
    if params.is_custom:
        _check_places(action, params, canvas)
    for index, mark in enumerate(params.water_mark_list):
        _check_watermark(action, f"{_LAYOUT}.WaterMarkList.{index}", mark, canvas)


def _check_places(action: Action, params: MixLayoutParams, canvas: VideoParams) -> None:
    path = f"{_LAYOUT}.MixLayoutList"
    if not params.mix_layout_list:
        raise faults.missing(action, path, f"{path} is required: MixLayoutMode is {params.mix_layout_mode} (custom)")
    for index, place in enumerate(params.mix_layout_list):
        _check_inside(action, f"{path}.{index}", (place.left, place.top, place.width, place.height), canvas)


def _check_watermark(action: Action, path: str, mark: WaterMark, canvas: VideoParams) -> None:
    kind = mark.water_mark_type
    name, content = (
        ("WaterMarkImage", mark.water_mark_image)
        if kind == IMAGE
        else ("WaterMarkChar", mark.water_mark_char)
        if kind == CHARS
        else ("WaterMarkTimestamp", mark.water_mark_timestamp)
    )
    path = f"{path}.{name}"
    if content is None:
        raise faults.missing(action, path, f"{path} is required: WaterMarkType is {kind}")
    if kind == IMAGE and mark.water_mark_image is not None:
        image = mark.water_mark_image
        _check_inside(action, path, (image.left, image.top, image.width, image.height), canvas)


def _check_inside(action: Action, path: str, place: tuple[int, int, int, int], canvas: VideoParams) -> None:
    left, top, width, height = place
    for name, begin, axis, size, most in (
        ("Left", left, "Width", width, canvas.width),
        ("Top", top, "Height", height, canvas.height),
    ):
        if begin > most:
            raise faults.out_of_range(
                action, f"{path}.{name}", f"must be at most the canvas's {axis}, {most}: it is {begin}"
            )
        if begin + size > most:
            reason = f"with {name} must be at most the canvas's {axis}, {most}: it is {begin + size}"
            raise faults.out_of_range(action, f"{path}.{axis}", reason)
