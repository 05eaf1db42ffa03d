"""Updates merged into requests: what is left out stays, what is empty resets, whatever the two are."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.egress.publishing.request import (
    AudioParams,
    LayoutParams,
    MixUserInfo,
    PublishCdnParam,
    RelayRequest,
    SeiParams,
    VideoParams,
    decode,
    encode,
)
from rtcloud.egress.publishing.updating import convert, merge
from rtcloud.errors import ServiceError

names = st.text("abc", min_size=1, max_size=3)
people = st.builds(lambda name: {"UserId": name, "RoomId": "7", "RoomIdType": 0}, names)
listed = st.lists(st.builds(lambda user: {"UserInfo": user}, people), max_size=3)
streams = st.builds(lambda user, kind: {"UserInfo": user, "StreamType": kind}, people, st.integers(0, 1))
colours = st.sampled_from(["", "0x000000", "0xFF0000"])
places = st.fixed_dictionaries(
    {},
    optional={
        "UserMediaStream": streams,
        "ImageWidth": st.integers(0, 640),
        "ZOrder": st.integers(0, 9),
        "BackgroundImageUrl": st.sampled_from(["", "https://host/a.png"]),
    },
)
layouts = st.fixed_dictionaries(
    {},
    optional={
        "MixLayoutMode": st.integers(1, 4),
        "PureAudioHoldPlaceMode": st.integers(0, 1),
        "MixLayoutList": st.lists(places, max_size=3),
        "MaxVideoUser": st.builds(lambda stream: {"UserMediaStream": stream}, streams),
        "RenderMode": st.integers(0, 2),
    },
)
encodes = st.fixed_dictionaries(
    {
        "Width": st.integers(8, 960).map(lambda half: half * 2),
        "Height": st.integers(8, 960).map(lambda half: half * 2),
        "Fps": st.integers(1, 60),
        "BitRate": st.integers(1, 10_000),
        "Gop": st.integers(1, 5),
    }
)
SOUND = {"SampleRate": 48_000, "Channel": 2, "BitRate": 64, "Codec": 0}
audios = st.fixed_dictionaries({}, optional={"SubscribeAudioList": listed, "UnSubscribeAudioList": listed})
videos = st.fixed_dictionaries(
    {},
    optional={
        "VideoEncode": encodes,
        "LayoutParams": layouts,
        "BackGroundColor": colours,
        "BackgroundRenderMode": st.integers(0, 2),
        "WaterMarkList": st.lists(st.just({"WaterMarkType": 0}), max_size=2),
    },
)
outputs = st.lists(st.builds(lambda name: {"PublishCdnUrl": f"rtmp://host/live/{name}"}, names), max_size=3)
updates = st.fixed_dictionaries(
    {"WithTranscoding": st.just(1), "SequenceNumber": st.integers(0, 2**64 - 1)},
    optional={
        "AudioParams": audios,
        "VideoParams": videos,
        "PublishCdnParams": outputs,
        "SeiParams": st.sampled_from([{}, {"LayoutVolume": {}}, {"LayoutVolume": {"AppData": "x", "FollowIdr": 1}}]),
    },
)


@st.composite
def requests(draw: st.DrawFn) -> RelayRequest:
    """A mix of sound and pictures."""
    members = {
        "SdkAppId": 1400,
        "RoomId": "7",
        "AgentParams": {"UserId": "robot"},
        "AudioParams": draw(audios) | {"AudioEncode": SOUND},
        "VideoParams": draw(videos) | {"VideoEncode": draw(encodes)},
        "PublishCdnParams": draw(outputs),
    }
    return convert(members)


def plain(value: Any) -> Any:
    return msgspec.to_builtins(value)


@given(requests(), updates)
def test_what_an_update_leaves_out_stays_and_what_it_gives_is_so(before: RelayRequest, update: dict[str, Any]) -> None:
    after = merge(before, update)
    assert (after.sequence_number, after.agent_params, after.room_id) == (
        update["SequenceNumber"],
        before.agent_params,
        "7",
    )
    assert after.publish_revision == ("PublishCdnParams" in update)
    for name, field, struct in (
        ("AudioParams", "audio_params", AudioParams),
        ("VideoParams", "video_params", VideoParams),
    ):
        told, old, new = update.get(name, {}), getattr(before, field), getattr(after, field)
        for member in msgspec.structs.fields(struct):
            now, then = getattr(old, member.name), getattr(new, member.name)
            if member.encode_name not in told:
                assert then == now
            elif member.encode_name == "LayoutParams":
                check_layout(now, then, told["LayoutParams"])
            else:
                assert then == alone(struct, member.encode_name, told[member.encode_name])
    assert after.publish_cdn_params == (
        msgspec.convert(update["PublishCdnParams"], tuple[PublishCdnParam, ...])
        if "PublishCdnParams" in update
        else before.publish_cdn_params
    )
    if "SeiParams" in update:
        assert after.sei_params == msgspec.convert(update["SeiParams"], SeiParams)


def check_layout(old: LayoutParams, new: LayoutParams, told: dict[str, Any]) -> None:
    for member in msgspec.structs.fields(LayoutParams):
        if member.encode_name not in told:
            assert getattr(new, member.name) == getattr(old, member.name)
        else:
            given = alone(LayoutParams, member.encode_name, told[member.encode_name])
            assert getattr(new, member.name) == given


def alone(struct: type[msgspec.Struct], name: str, value: Any) -> Any:
    """What a member becomes where there was nothing before."""
    required = {"VideoEncode": {"Width": 16, "Height": 16, "Fps": 1, "BitRate": 1, "Gop": 1}}
    whole = convert_part(struct, (required if struct is VideoParams else {}) | {name: value})
    field = next(each for each in msgspec.structs.fields(struct) if each.encode_name == name)
    return getattr(whole, field.name)


def convert_part(struct: type[msgspec.Struct], members: dict[str, Any]) -> Any:
    def full(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: full(each) for name, each in value.items() if each != ""}
        return [full(each) for each in value] if isinstance(value, list) else value

    return msgspec.convert(full(members), struct)


@given(requests(), updates)
def test_an_update_given_twice_changes_nothing_more(before: RelayRequest, update: dict[str, Any]) -> None:
    number = min(update["SequenceNumber"], 2**64 - 2)
    once = merge(before, update | {"SequenceNumber": number})
    twice = merge(once, update | {"SequenceNumber": number + 1})
    ours = {"sequence_number": 0, "publish_revision": 0}
    assert msgspec.structs.replace(twice, **ours) == msgspec.structs.replace(once, **ours)


@given(requests(), updates)
def test_an_updated_request_survives_the_task_row(before: RelayRequest, update: dict[str, Any]) -> None:
    after = merge(before, update)
    assert decode(encode(after)) == after


@given(requests())
def test_empty_lists_and_texts_reset(before: RelayRequest) -> None:
    empty: dict[str, Any] = {
        "WithTranscoding": 1,
        "SequenceNumber": 1,
        "AudioParams": {"SubscribeAudioList": [], "UnSubscribeAudioList": []},
        "VideoParams": {"WaterMarkList": [], "BackGroundColor": "", "LayoutParams": {"MixLayoutList": []}},
        "PublishCdnParams": [],
        "SeiParams": {},
    }
    after = merge(before, empty)
    assert after.audio_params is not None
    assert after.video_params is not None
    assert (after.audio_params.subscribe_audio_list, after.audio_params.un_subscribe_audio_list) == ((), ())
    assert (after.video_params.water_mark_list, after.video_params.background_color) == ((), "")
    assert (after.video_params.layout_params.mix_layout_list, after.publish_cdn_params) == ((), ())
    assert after.sei_params == SeiParams()


@given(requests(), st.integers(0, 1000), st.integers(0, 1000))
def test_numbers_only_grow(before: RelayRequest, first: int, second: int) -> None:
    after = merge(before, {"WithTranscoding": 1, "SequenceNumber": first})
    if second > first:
        assert merge(after, {"WithTranscoding": 1, "SequenceNumber": second}).sequence_number == second
    else:
        with pytest.raises(ServiceError, match="InvalidParameter: SequenceNumber"):
            merge(after, {"WithTranscoding": 1, "SequenceNumber": second})


@pytest.mark.parametrize(("member", "value"), [("SampleRate", 44_100), ("Channel", 1), ("BitRate", 128), ("Codec", 1)])
def test_the_sound_is_encoded_as_it_was_at_the_start(member: str, value: int) -> None:
    before = convert(
        {"SdkAppId": 1, "RoomId": "7", "AgentParams": {"UserId": "r"}, "AudioParams": {"AudioEncode": SOUND}}
    )
    same = {"WithTranscoding": 1, "SequenceNumber": 1, "AudioParams": {"AudioEncode": SOUND}}
    assert merge(before, same).audio_params == before.audio_params
    other = same | {"AudioParams": {"AudioEncode": SOUND | {member: value}}}
    with pytest.raises(ServiceError, match=rf"AudioParams\.AudioEncode\.{member} cannot change"):
        merge(before, other)


@given(requests())
def test_a_single_stream_forgets_what_was_mixed(before: RelayRequest) -> None:
    stream = {"UserMediaStream": {"UserInfo": {"UserId": "a", "RoomId": "7"}}}
    single = merge(before, {"WithTranscoding": 0, "SequenceNumber": 1, "SingleSubscribeParams": stream})
    assert single.single_subscribe_params is not None
    assert single.single_subscribe_params.user_media_stream.user_info == MixUserInfo(user_id="a", room_id="7")
    assert before.video_params is not None
    assert single.video_params == VideoParams(video_encode=before.video_params.video_encode)
    assert single.audio_params == AudioParams()
    assert single.publish_cdn_params == before.publish_cdn_params
    mixed = merge(single, {"WithTranscoding": 1, "SequenceNumber": 2})
    assert (mixed.single_subscribe_params, mixed.video_params) == (None, single.video_params)


def test_a_big_picture_of_nobody_resets_it() -> None:
    def big(stream: dict[str, Any]) -> dict[str, Any]:
        return {"LayoutParams": {"MaxVideoUser": {"UserMediaStream": stream}}}

    start = {"SdkAppId": 1, "RoomId": "7", "AgentParams": {"UserId": "r"}}
    encode = {"Width": 16, "Height": 16, "Fps": 1, "BitRate": 1, "Gop": 1}
    before = convert(
        start | {"VideoParams": {"VideoEncode": encode} | big({"UserInfo": {"UserId": "a", "RoomId": "7"}})}
    )
    after = merge(before, {"WithTranscoding": 1, "SequenceNumber": 1, "VideoParams": big({})})
    assert before.video_params is not None
    assert before.video_params.layout_params.max_video_user is not None
    assert after.video_params is not None
    assert after.video_params.layout_params.max_video_user is None


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_what_is_recorded_keeps_its_codec(codec: str) -> None:
    storage = {"Vendor": 0, "Region": "r", "Bucket": "b", "AccessKey": "k", "SecretKey": "s"}
    record = {"McuStorageParams": {"CloudStorage": storage}}
    encode = {"Width": 64, "Height": 64, "Fps": 15, "BitRate": 100, "Gop": 1}
    whole = {
        "SdkAppId": 1,
        "RoomId": "7",
        "AgentParams": {"UserId": "robot"},
        "AudioParams": {},
        "VideoParams": {"VideoEncode": encode},
        "PublishCdnParams": [{"PublishCdnUrl": "rtmp://host/live/x"}],
        "VideoCodec": codec,
    }
    single = {"UserMediaStream": {"UserInfo": {"UserId": "ann", "RoomId": "7"}}}
    change = {"SequenceNumber": 1, "WithTranscoding": 0, "SingleSubscribeParams": single}
    assert merge(convert(whole), change).is_single
    recorded = convert(whole | {"RecordParams": record})
    assert merge(recorded, change | {"WithTranscoding": 1}).sequence_number == 1
    if codec == "h264":
        assert merge(recorded, change).is_single
    else:
        with pytest.raises(ServiceError, match="WithTranscoding cannot change"):
            merge(recorded, change)
