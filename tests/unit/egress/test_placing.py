"""Who is heard, who is seen where, and who keeps a recording going."""

from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcloud.client.types import Participant, RemoteTrack
from rtcloud.egress.publishing.request import FEEDBACK
from rtcloud.egress.recording.placing import MAX_STREAMS, Plan, Roster
from rtcloud.egress.recording.request import RecordingRequest
from rtcloud.mixer.layout import BLACK, Rect, RenderMode
from rtcloud.mixer.scene import Cell


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


def test_no_more_streams_than_the_limit() -> None:
    crowd = [person(f"p{number}", "microphone", "camera") for number in range(40)]
    plan = Roster(request()).plan(crowd)
    assert len(plan.places) == len(plan.audio) == MAX_STREAMS
    chosen = {"SubscribeAudioUserIds": ["p39"], "SubscribeVideoUserIds": ["p38", "p39"]}
    plan = Roster(request(SubscribeStreamUserIds=chosen)).plan(crowd)
    assert (list(plan.video), list(plan.audio)) == (["p38/camera", "p39/camera"], ["p39/microphone"])


def test_who_is_recorded_stays_so_when_an_earlier_one_begins_to_send() -> None:
    roster = Roster(request())
    late = [person(f"p{number}", "camera") for number in range(MAX_STREAMS)]
    roster.plan([person("early"), *late])
    plan = roster.plan([person("early", "camera"), *late])
    assert list(plan.video) == [f"p{number}/camera" for number in range(MAX_STREAMS)]
    assert "early/camera" in roster.plan([person("early", "camera"), *late[1:]]).video


def test_mixes_that_are_fed_back_are_recorded_only_when_asked_for() -> None:
    robot = Participant("mix", "PA_mix", person("mix", "camera").tracks, attributes={FEEDBACK: "task"}, robot=True)
    assert Roster(request()).plan([robot]) == Plan(scene=Roster(request()).plan([]).scene)
    asked = Roster(request(SubscribeAbility=1)).plan([robot])
    assert (asked.places, asked.has_anchor) == (("mix/camera",), True)


# Layouts -----------------------------------------------------------------------------------------------------------

WIDTH, HEIGHT = 640, 360
WHOLE = Rect(0, 0, WIDTH, HEIGHT)


def laid_out(
    mode: int, images: dict[str, str] | None = None, record: dict[str, Any] | None = None, **layout: Any
) -> Roster:
    video = {"Width": WIDTH, "Height": HEIGHT, "Fps": 15, "BitRate": 500_000, "Gop": 1}
    asked = request({"MixLayoutMode": mode} | layout, **(record or {}))
    return Roster(
        msgspec.structs.replace(
            asked,
            mix_transcode_params=msgspec.convert({"VideoParams": video}, type(asked.mix_transcode_params)),
            images=images or {},
        )
    )


def cells(plan: Plan) -> dict[str | None, Cell]:
    return {cell.track_id: cell for cell in plan.scene.cells}


def place(left: int, top: int, width: int, height: int, user_id: str = "", **members: Any) -> dict[str, Any]:
    return {"Left": left, "Top": top, "Width": width, "Height": height, "UserId": user_id} | members


CROWD = [person(name, "microphone", "camera") for name in ("a", "b", "c")]


def test_floating_shows_the_first_stream_behind_the_others() -> None:
    shown = cells(laid_out(1).plan(CROWD))
    assert shown["a/camera"].rect == WHOLE
    # 0.235 of the canvas, 0.012 away from the edges and each other, from the bottom left to the right
    assert shown["b/camera"].rect == Rect(6, 360 - 84 - 4, 150, 84)
    assert shown["c/camera"].rect == Rect(6 + 150 + 6, 360 - 84 - 4, 150, 84)
    assert shown["a/camera"].z < shown["b/camera"].z


def test_floating_shows_the_named_stream_behind_and_nothing_when_it_is_missing() -> None:
    roster = laid_out(1, MaxResolutionUserId="b", MediaId=1)
    people = [person("a", "camera"), person("b", "camera", "screen_share")]
    shown = cells(roster.plan(people))
    assert shown["b/screen_share"].rect == WHOLE
    assert [each for each in shown] == ["b/screen_share", "a/camera", "b/camera"]
    missing = roster.plan([person("a", "camera"), person("b", "camera")])
    assert [cell.rect.width for cell in missing.scene.cells] == [150, 150]


def test_screen_sharing_has_the_named_stream_large_and_on_the_asked_side() -> None:
    for align, big, small in ((0, Rect(0, 0, 512, 360), 512), (1, Rect(128, 0, 512, 360), 0)):
        shown = cells(laid_out(2, MaxResolutionUserId="b", MaxResolutionUserAlign=align).plan(CROWD))
        assert shown["b/camera"].rect == big
        assert (shown["a/camera"].rect, shown["c/camera"].rect) == (Rect(small, 0, 128, 90), Rect(small, 90, 128, 90))
    nobody = cells(laid_out(2).plan(CROWD))
    assert [cell.rect.width for cell in nobody.values()] == [128] * 3


def test_templates_show_twenty_five_pictures_of_the_asked_mode() -> None:
    crowd = [person(f"p{number}", "camera") for number in range(25)]
    for mode in (1, 2, 3):
        plan = laid_out(mode, RenderMode=3, MaxResolutionUserId="p0").plan(crowd)
        assert len(plan.scene.cells) == 25
        assert {cell.mode for cell in plan.scene.cells} == {RenderMode.SMART}
        assert len({cell.rect for cell in plan.scene.cells}) == 25


def test_custom_places_wait_for_their_streams_and_the_others_take_who_comes() -> None:
    roster = laid_out(
        4,
        MixLayoutList=[
            place(0, 0, 100, 100),
            place(101, 51, 101, 101, "b", ImageLayer=7, RenderMode=0),
            place(200, 0, 100, 100, "a", MediaId=1),
            place(300, 0, 100, 100, MediaId=1),
            place(400, 0, 0, 100),
        ],
    )
    first = cells(roster.plan([person("a", "camera", "microphone"), person("c", "camera")]))
    assert {track: cell.rect.left for track, cell in first.items()} == {"a/camera": 0}
    everyone = [person("a", "camera", "screen_share"), person("b", "camera"), person("c", "camera", "screen_share")]
    plan = roster.plan(everyone)
    shown = cells(plan)
    assert {track: cell.rect.left for track, cell in shown.items()} == {
        "a/camera": 0,
        "b/camera": 100,
        "a/screen_share": 200,
        "c/screen_share": 300,
    }
    b = shown["b/camera"]
    assert (b.rect, b.z, b.mode) == (Rect(100, 50, 102, 102), 7, RenderMode.STRETCH)
    assert "c/camera" in plan.video  # received, though nobody sees it: the mixer does not ask for it
    left = cells(roster.plan(everyone[1:]))
    assert {track: cell.rect.left for track, cell in left.items()} == {
        "c/camera": 0,
        "b/camera": 100,
        "c/screen_share": 300,
    }


def test_an_unnamed_place_keeps_its_stream_when_somebody_earlier_begins() -> None:
    roster = laid_out(4, MixLayoutList=[place(0, 0, 100, 100), place(100, 0, 100, 100)])
    roster.plan([person("a"), person("b", "microphone")])
    plan = roster.plan([person("a", "camera"), person("b", "microphone", "camera")])
    assert plan.places == ("b/camera", "a/camera")


def test_sound_alone_keeps_a_custom_place_whatever_the_templates_do() -> None:
    roster = laid_out(4, MixLayoutList=[place(0, 0, 100, 100)], PureAudioDisableLayout=True)
    plan = roster.plan([person("a", "microphone"), person("b", "microphone", "camera")])
    assert (plan.places, len(plan.audio)) == ((None,), 2)


def test_another_request_moves_people_and_keeps_last_pictures() -> None:
    roster = laid_out(3)
    roster.plan(CROWD)
    stopped = [person("a", "microphone"), *CROWD[1:]]
    assert roster.plan(stopped).kept == {"a/camera"}
    roster.update(laid_out(4, MixLayoutList=[place(0, 0, 200, 200, "a")])._request)
    plan = roster.plan(stopped)
    assert plan.places == ("a/camera",)
    assert plan.kept == {"a/camera"}
    roster.update(laid_out(3, record={"SubscribeStreamUserIds": {"UnSubscribeVideoUserIds": ["b"]}})._request)
    assert roster.plan(stopped).places == ("a/camera", None, "c/camera")


def test_sound_alone_has_no_picture_to_arrange() -> None:
    plan = laid_out(1, record={"StreamType": 1}).plan(CROWD)
    assert (plan.scene.cells, plan.video, len(plan.audio)) == ((), {}, 3)


def camera(track_id: str) -> RemoteTrack:
    return RemoteTrack(track_id, "a", "video", "camera", muted=False)


# What a window shows -----------------------------------------------------------------------------------------------


def window(person_: Participant | None, roster: Roster) -> tuple[Cell, ...]:
    return roster.plan([] if person_ is None else [person_]).scene.cells


def test_windows_show_their_image_until_there_is_a_picture() -> None:
    images = {"http://x/own.png": "own", "http://x/all.png": "all"}
    roster = laid_out(
        4,
        images,
        MixLayoutList=[place(0, 0, 100, 100, "a", SubBackgroundImage="http://x/own.png"), place(100, 0, 100, 100, "b")],
        DefaultSubBackgroundImage="http://x/all.png",
    )
    assert roster.plan([]).scene.cells == ()
    own, default = roster.plan([person("a", "microphone"), person("b", "microphone")]).scene.cells
    assert own.track_id is None
    assert own.holder is not None
    assert default.holder is not None
    assert (own.holder.image.path, default.holder.image.path) == ("own", "all")
    (live,) = window(person("a", "camera"), roster)
    assert (live.track_id, live.holder) == ("a/camera", own.holder)


def test_placeholders_stand_for_who_is_missing_and_for_stopped_videos() -> None:
    images = {"http://x/all.png": "all"}
    layout: dict[str, Any] = {
        "MixLayoutList": [place(0, 0, 100, 100, "a")],
        "DefaultSubBackgroundImage": "http://x/all.png",
    }
    for mode, missing, stopped in ((0, [], ["a/camera"]), (1, [None], [None])):
        roster = laid_out(4, images, PlaceHolderMode=mode, **layout)
        assert [cell.track_id for cell in window(None, roster)] == missing
        window(person("a", "camera"), roster)
        muted = window(person("a", "camera", muted=["camera"]), roster)
        assert [cell.track_id for cell in muted] == stopped
        assert all(cell.holder is not None for cell in muted)


def test_a_stopped_video_is_black_on_any_background_when_asked() -> None:
    roster = laid_out(3, record={"FillType": 1}, BackGroundColor="#FF8000")
    window(person("a", "camera"), roster)
    (cell,) = window(person("a", "camera", muted=["camera"]), roster)
    assert (cell.track_id, cell.fill, cell.rect) == (None, BLACK, WHOLE)
    assert window(person("b", "microphone"), roster) == ()


def test_another_camera_takes_over_from_the_last_picture_and_not_from_the_background() -> None:
    images = {"http://x/i": "i"}
    old, new = person("a", "microphone", "camera"), Participant("a", "PA_a", (camera("new"),))
    for between in ([], [person("a", "microphone")]):
        roster = laid_out(3, images, DefaultSubBackgroundImage="http://x/i")
        window(old, roster)
        for each in between:
            window(each, roster)
        for _ in range(2):  # and so it stays when something else changes
            beneath, above = window(new, roster)
            assert (beneath.track_id, above.track_id) == ("a/camera", "new")
            assert (beneath.holder, above.holder, above.z) == (None, None, beneath.z)
        assert roster.plan([new]).places == ("new",)
        assert roster.plan([new]).kept == {"a/camera"}
        assert [cell.track_id for cell in window(Participant("a", "PA_b", (camera("new"),)), roster)] == ["new"]


def test_a_camera_that_was_switched_off_at_once_leaves_what_was_before() -> None:
    roster = laid_out(3)
    sound = RemoteTrack("voice", "a", "audio", "microphone", muted=False)
    for tracks, drawn in (
        ((camera("1"),), ["1"]),
        ((), ["1"]),
        ((camera("2"),), ["1", "2"]),
        ((), ["1", "2"]),
        ((camera("3"),), ["1", "2", "3"]),
        ((camera("4"),), ["2", "3", "4"]),  # there is an end to it
    ):
        cells = window(Participant("a", "PA_a", (sound, *tracks)), roster)
        assert [cell.track_id for cell in cells] == drawn


def test_black_lasts_until_the_first_picture_when_asked() -> None:
    roster = laid_out(3, record={"FillType": 1})
    (first,) = window(person("a", "camera"), roster)
    assert first.fill is None
    window(person("a", "camera", muted=["camera"]), roster)
    for back in (person("a", "camera"), Participant("a", "PA_a", (camera("new"),))):
        (cell,) = window(back, roster)
        assert (cell.track_id, cell.fill) == (back.tracks[0].track_id, BLACK)


def test_a_picture_that_would_be_seen_beside_the_next_one_goes_at_once() -> None:
    images = {"http://x/i": "i"}
    fitted: dict[str, Any] = {"RenderMode": 2, "DefaultSubBackgroundImage": "http://x/i"}
    for roster in (
        laid_out(3, images, **fitted),
        laid_out(3, images, PlaceHolderMode=1, DefaultSubBackgroundImage="http://x/i"),
        laid_out(4, MixLayoutList=[place(0, 0, 100, 100, Alpha=55)]),
    ):
        window(person("a", "camera"), roster)
        drawn = [cell.track_id for cell in window(Participant("a", "PA_a", (camera("new"),)), roster)]
        assert "a/camera" not in drawn


def test_fitted_pictures_stand_on_their_window() -> None:
    plain = window(CROWD[0], laid_out(3, RenderMode=2, BackGroundColor="#FFFFFF"))
    assert [(cell.bars.y if cell.bars else 0, cell.mode) for cell in plain] == [(235, RenderMode.FIT)]
    beneath, above = window(
        CROWD[0], laid_out(3, {"http://x/i": "i"}, RenderMode=2, DefaultSubBackgroundImage="http://x/i")
    )
    assert beneath.holder is not None
    assert beneath.holder.mode is RenderMode.FIT
    assert (above.track_id, above.bars) == ("a/camera", None)


def test_windows_may_be_seen_through_and_vanish() -> None:
    for alpha, opacity in ((0, [255]), (55, [200]), (255, [])):
        roster = laid_out(4, MixLayoutList=[place(0, 0, 100, 100, Alpha=alpha)])
        assert [cell.opacity for cell in window(CROWD[0], roster)] == opacity


# Whatever happens --------------------------------------------------------------------------------------------------

_SOURCES = ("microphone", "camera", "screen_share", "screen_share_audio")
_NAMES = [f"p{number}" for number in range(30)]
_PERSON = st.tuples(
    st.sampled_from(_NAMES), st.lists(st.sampled_from(_SOURCES), unique=True), st.lists(st.sampled_from(_SOURCES))
)
_PLACE = st.builds(
    lambda left, top, width, height, **members: place(
        left, top, min(width, WIDTH - left), min(height, HEIGHT - top), **members
    ),
    *(st.integers(0, WIDTH), st.integers(0, HEIGHT), st.integers(0, WIDTH), st.integers(0, HEIGHT)),
    user_id=st.sampled_from(["", "p1", "p2"]),
    MediaId=st.integers(0, 1),
    RenderMode=st.integers(0, 3),
    Alpha=st.sampled_from([0, 100, 255]),
)
_LAYOUT = st.fixed_dictionaries(
    {"mode": st.integers(1, 4), "MixLayoutList": st.lists(_PLACE, max_size=25)},
    optional={
        "RenderMode": st.integers(0, 3),
        "PlaceHolderMode": st.integers(0, 1),
        "PureAudioDisableLayout": st.booleans(),
        "MaxResolutionUserId": st.sampled_from(["p1", "p2"]),
        "DefaultSubBackgroundImage": st.just("http://x/all.png"),
        "record": st.fixed_dictionaries({"FillType": st.integers(0, 1), "MediaId": st.integers(0, 2)}),
    },
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.lists(_PERSON, max_size=30, unique_by=lambda one: one[0]), _LAYOUT), min_size=1, max_size=4)
)
def test_every_scene_can_be_drawn_and_nobody_is_received_in_vain(steps: list[Any]) -> None:
    roster = laid_out(3)
    for people, asked in steps:
        roster.update(laid_out(images={"http://x/all.png": "all"}, **asked)._request)
        plan = roster.plan([person(name, *sources, muted=muted) for name, sources, muted in people])
        assert len(plan.places) <= 25
        assert len({track.user_id for track in (*plan.audio.values(), *plan.video.values())}) <= MAX_STREAMS
        for cell in plan.scene.cells:
            rect = cell.rect
            assert min(rect.width, rect.height) >= 2
            assert 0 <= rect.left <= rect.left + rect.width <= WIDTH
            assert 0 <= rect.top <= rect.top + rect.height <= HEIGHT
            assert not any(edge % 2 for edge in (rect.left, rect.top, rect.width, rect.height))
        drawn = [cell.track_id for cell in plan.scene.cells if cell.track_id is not None]
        assert set(drawn) <= plan.video.keys() | plan.kept
        if asked["mode"] != 4:
            assert len(drawn) == len(set(drawn))
