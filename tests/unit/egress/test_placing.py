"""Who is heard, who is seen where, and who keeps a recording going."""

from collections.abc import Sequence
from typing import Any

import msgspec

from rtcloud.client.types import Participant, RemoteTrack
from rtcloud.egress.recording.placing import MAX_PEOPLE, Roster
from rtcloud.egress.recording.request import RecordingRequest


def request(layout: dict[str, Any] | None = None, **record: Any) -> RecordingRequest:
    return msgspec.convert(
        {
            "SdkAppId": 1,
            "RoomId": "1",
            "UserId": "robot",
            "RecordParams": {"RecordMode": 2} | record,
            "StorageParams": {"CloudStorage": {"Vendor": 0, "Region": "r", "Bucket": "b"}},
            "MixLayoutParams": {"MixLayoutMode": 3} | (layout or {}),
        },
        RecordingRequest,
    )


def person(name: str, *sources: str, muted: Sequence[str] = ()) -> Participant:
    tracks = tuple(
        RemoteTrack(
            f"{name}/{source}",
            name,
            "audio" if source in ("microphone", "screen_share_audio") else "video",
            source,  # type: ignore[arg-type]
            source in muted,
        )
        for source in sources
    )
    return Participant(name, f"PA_{name}", tracks)


def test_places_follow_the_order_of_entry_and_sound_alone_keeps_one() -> None:
    plan = Roster(request()).plan(
        [person("a", "microphone", "camera"), person("b", "microphone"), person("c", "camera"), person("d")]
    )
    assert plan.places == ("a/camera", None, "c/camera")
    assert list(plan.audio) == ["a/microphone", "b/microphone"]
    assert list(plan.video) == ["a/camera", "c/camera"]


def test_sound_alone_takes_no_place_when_the_request_says_so() -> None:
    roster = Roster(request({"PureAudioDisableLayout": True}))
    plan = roster.plan([person("a", "microphone"), person("b", "microphone", "camera")])
    assert plan.places == ("b/camera",)
    assert len(plan.audio) == 2


def test_a_screen_has_a_place_of_its_own_after_the_camera() -> None:
    people = [person("a", "camera", "screen_share", "screen_share_audio"), person("b", "camera")]
    assert Roster(request()).plan(people).places == ("a/camera", "a/screen_share", "b/camera")
    assert Roster(request(MediaId=1)).plan(people).places == ("a/camera", "b/camera")
    only_sub = Roster(request(MediaId=2)).plan(people)
    assert only_sub.places == ("a/screen_share",)
    assert list(only_sub.audio) == ["a/screen_share_audio"]


def test_stream_types() -> None:
    people = [person("a", "microphone", "camera")]
    audio_only = Roster(request(StreamType=1)).plan(people)
    assert (audio_only.places, list(audio_only.audio), list(audio_only.video)) == ((), ["a/microphone"], [])
    video_only = Roster(request(StreamType=2)).plan(people)
    assert (video_only.places, list(video_only.audio)) == (("a/camera",), [])


def test_lists_choose_whose_streams_are_taken() -> None:
    people = [person("a1", "microphone", "camera"), person("a2", "microphone", "camera"), person("b", "camera")]
    chosen = {"SubscribeAudioUserIds": ["a1"], "UnSubscribeVideoUserIds": ["a.*$"]}
    plan = Roster(request(SubscribeStreamUserIds=chosen)).plan(people)
    assert list(plan.audio) == ["a1/microphone"]
    assert list(plan.video) == ["b/camera"]
    assert plan.places == (None, "b/camera")


def test_a_stopped_video_leaves_its_last_picture_by_default() -> None:
    roster = Roster(request())
    roster.plan([person("a", "microphone", "camera")])
    muted = roster.plan([person("a", "microphone", "camera", muted=["camera"])])
    assert muted.places == ("a/camera",)
    unpublished = roster.plan([person("a", "microphone")])
    assert unpublished.places == ("a/camera",)
    assert unpublished.kept == {"a/camera"}
    assert roster.plan([]).places == ()
    assert roster.plan([person("a", "microphone")]).places == (None,)


def test_a_stopped_video_leaves_black_when_asked() -> None:
    roster = Roster(request(FillType=1))
    assert roster.plan([person("a", "camera")]).places == ("a/camera",)
    assert roster.plan([person("a", "camera", muted=["camera"])]).places == (None,)
    assert roster.plan([person("a", "microphone")]).places == (None,)


def test_an_anchor_counts_until_leaving_and_listeners_never_do() -> None:
    roster = Roster(request())
    assert not roster.plan([person("listener")]).has_anchor
    assert roster.plan([person("listener"), person("a", "camera")]).has_anchor
    assert roster.plan([person("listener"), person("a")]).has_anchor
    assert not roster.plan([person("listener")]).has_anchor


def test_no_more_people_than_the_limit() -> None:
    plan = Roster(request()).plan([person(f"p{number}", "microphone", "camera") for number in range(40)])
    assert len(plan.places) == len(plan.audio) == MAX_PEOPLE
