"""Scale and received areas, beside counting second by second."""

from hypothesis import given
from hypothesis import strategies as st

from rtcloud.stats.counting import Received, Scale, received_areas, scale
from rtcloud.stats.events import EventId, Stay, StreamType, Stretch, UserEvent, mute_event, timeline

spans = st.tuples(st.integers(0, 100), st.none() | st.integers(0, 50))


def stay(room: str, user_id: str, joined_ms: int, length: int | None, reason: int = 1) -> Stay:
    left_ms = None if length is None else joined_ms + length
    return Stay("PA", room, user_id, joined_ms, left_ms, reason, 20, 1, 4, "", "", "")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), spans), max_size=12), st.integers(1, 9))
def test_scale_is_what_each_step_shows(given_stays: list[tuple[str, str, tuple[int, int | None]]], step: int) -> None:
    stays = [stay(room, user, *span) for room, user, span in given_stays]
    for point in scale(stays, 20, 80, step):
        begins = point.at_ms - step
        here = {
            (one.room, one.user_id)
            for one in stays
            if one.joined_ms < point.at_ms and (one.left_ms is None or one.left_ms >= begins)
        }
        assert point == Scale(point.at_ms, len(here), len({room for room, _ in here}))


@given(
    st.lists(
        st.tuples(st.sampled_from(["audio", "video", "aux"]), spans, st.integers(1, 3), st.integers(1, 3)), max_size=8
    )
)
def test_received_areas_are_what_each_moment_shows(
    given_stretches: list[tuple[str, tuple[int, int | None], int, int]],
) -> None:
    stretches = [
        Stretch("PA", kind, start, None if length is None else start + length, "bob", width, height)
        for kind, (start, length), width, height in given_stretches
    ]
    steps = received_areas(stretches)
    for at_ms in range(160):
        open_now = [s for s in stretches if s.started_ms <= at_ms and (s.stopped_ms is None or at_ms < s.stopped_ms)]
        area = sum(s.width * s.height for s in open_now if s.kind != "audio")
        audio = any(s.kind == "audio" for s in open_now)
        found = [s for s in steps if s.started_ms <= at_ms and (s.stopped_ms is None or at_ms < s.stopped_ms)]
        assert [(s.area, s.audio) for s in found] == ([(area, audio)] if area or audio else [])


def test_equal_neighbours_are_one_step() -> None:
    stretches = [Stretch("PA", "audio", 0, 5, "bob"), Stretch("PA", "audio", 5, 9, "bob")]
    assert received_areas(stretches) == [Received(0, 9, 0, True)]


def test_why_somebody_left_is_told_with_the_documented_number() -> None:
    for reason, parameter in ((1, 0), (2, 1), (3, 2), (5, 2)):
        *_, left = timeline([stay("a", "x", 0, 5, reason)], [], [])
        assert (left.event_id, left.param1) == (EventId.LEFT, parameter)


def test_an_event_of_ours_is_told_from_the_documented_ones() -> None:
    assert UserEvent("PA", 0, EventId.SIGNAL_DOWN).is_documented
    assert not UserEvent("PA", 0, EventId.ROLE_CHANGED).is_documented


def test_a_muted_screen_hides_no_change_of_the_camera() -> None:
    noted = [UserEvent("PA", 5, mute_event("aux", True), stream=StreamType.AUX)]
    sent = [Stretch("PA", "video", 0, 5), Stretch("PA", "aux", 0, 5), Stretch("PA", "audio", 0, 5)]
    told = [(one.event_id, one.stream) for one in timeline([], sent, noted) if one.at_ms == 5]
    assert sorted(told) == sorted(
        [
            (EventId.VIDEO_MUTED, StreamType.AUX),
            (EventId.VIDEO_OFF, StreamType.MAIN),
            (EventId.AUDIO_OFF, StreamType.NONE),
        ]
    )
