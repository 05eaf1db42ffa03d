"""An update of a relay, merged into what the task does now. Pure; what comes out is still to be checked as a whole.

What an update leaves out stays as it is, and what it gives replaces it: in AudioParams, VideoParams and their
AudioEncode, VideoEncode and LayoutParams member by member, everything else (lists, SeiParams, one stream) as a whole.
So an empty list, text or object resets. What a task keeps for its whole life is refused: which media it relays, and
how its sound is encoded, since the outputs go on without a new beginning.

Between a single stream and a mix, what only the former form knows is forgotten.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from rtcloud.egress.publishing.request import AudioEncode, RelayRequest
from rtcloud.errors import ServiceError

#: Objects that are merged member by member.
_MERGED = frozenset({"AudioParams", "AudioEncode", "VideoParams", "VideoEncode", "LayoutParams"})
_TAKEN = (
    "AudioParams",
    "VideoParams",
    "SingleSubscribeParams",
    "PublishCdnParams",
    "SeiParams",
    "FeedBackRoomParams",
    "RecordParams",
)


def merge(current: RelayRequest, changes: Mapping[str, Any]) -> RelayRequest:
    """``changes``: the members of an update, with the rooms of users filled in (``relayed.with_rooms``)."""
    number = changes["SequenceNumber"]
    if number <= current.sequence_number:
        last = current.sequence_number
        raise ServiceError("InvalidParameter", f"SequenceNumber must be greater than the last one, {last}")
    _check_media(current, changes)
    before: dict[str, Any] = msgspec.to_builtins(current)
    transcoding = changes["WithTranscoding"]
    _check_recorded_codec(current, transcoding)
    if transcoding != current.with_transcoding:
        before = _of_both(before)
    after = before | {name: _over(before.get(name), changes[name], name) for name in _TAKEN if name in changes}
    after["WithTranscoding"] = transcoding
    after["SequenceNumber"] = number
    after["PublishRevision"] = current.publish_revision + ("PublishCdnParams" in changes)
    merged = convert(after)
    _check_sound(current, merged)
    return merged


def convert(members: Mapping[str, Any]) -> RelayRequest:
    """Empty texts are the defaults, as they are wherever the API takes text; a big picture of nobody is none."""
    made = msgspec.convert(_without_empty_texts(members), RelayRequest)
    video = made.video_params
    big = None if video is None else video.layout_params.max_video_user
    if video is None or big is None or big.user_media_stream.user_info is not None:
        return made
    layout = replace(video.layout_params, max_video_user=None)
    return replace(made, video_params=replace(video, layout_params=layout))


def _check_media(current: RelayRequest, changes: Mapping[str, Any]) -> None:
    if current.audio_params is None and any(changes.get("AudioParams", {}).values()):
        raise ServiceError("InvalidParameter", "AudioParams cannot be given: the task relays only video, for its life")
    if current.video_params is None and any(changes.get("VideoParams", {}).values()):
        raise ServiceError("InvalidParameter", "VideoParams cannot be given: the task relays only audio, for its life")


def _check_recorded_codec(current: RelayRequest, transcoding: int) -> None:
    """A file has one codec, and a single stream is H.264."""
    if current.with_transcoding == transcoding or current.record_params is None or current.video_params is None:
        return
    if current.video_codec != "h264":
        reason = "WithTranscoding cannot change: the task is recorded, and its mix is not H.264 as a single stream is"
        raise ServiceError("InvalidParameter", reason)


def _check_sound(current: RelayRequest, merged: RelayRequest) -> None:
    if current.audio_params is None or merged.audio_params is None:
        return
    now, then = current.audio_params.audio_encode, merged.audio_params.audio_encode
    for field in msgspec.structs.fields(AudioEncode):
        value = getattr(now, field.name)
        if getattr(then, field.name) != value:
            path = f"AudioParams.AudioEncode.{field.encode_name}"
            raise ServiceError("InvalidParameter", f"{path} cannot change while the task runs: it is {value}")


def _of_both(members: dict[str, Any]) -> dict[str, Any]:
    """What a single stream and a mix have in common: encoding, outputs and messages."""
    kept = {name: value for name, value in members.items() if name != "SingleSubscribeParams"}
    if "AudioParams" in kept:
        kept["AudioParams"] = {k: v for k, v in kept["AudioParams"].items() if k == "AudioEncode"}
    if "VideoParams" in kept:
        kept["VideoParams"] = {k: v for k, v in kept["VideoParams"].items() if k == "VideoEncode"}
    return kept


def _over(before: Any, given: Any, name: str) -> Any:
    if name not in _MERGED or before is None:
        return given if name not in ("AudioParams", "VideoParams") or any(given.values()) else None
    return before | {member: _over(before.get(member, {}), value, member) for member, value in given.items()}


def _without_empty_texts(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_empty_texts(each) for name, each in value.items() if each != ""}
    if isinstance(value, list | tuple):
        return [_without_empty_texts(each) for each in value]
    return value
