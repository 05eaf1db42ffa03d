"""What samples are made of: layers added up, the largest that is seen, pairs only where there are few."""

from rtcloud.rooms.measuring import Period
from rtcloud.stats import sampling
from tests.unit.rooms.test_measuring import sent, track

TRACKS = {"TR_cam": ("alice", "video"), "TR_mic": ("alice", "audio"), "TR_screen": ("carol", "aux")}


def test_layers_are_added_up_and_the_largest_that_somebody_gets_is_what_is_seen() -> None:
    rows = [
        track("TR_cam", rid="q", bitrate=100, packets=10, fps=30.0, width=320, height=180, jitter_ms=1.0),
        track("TR_cam", rid="h", bitrate=300, packets=30, loss=0.1, fps=20.0, width=640, height=360, frozen_ms=40),
        track("TR_cam", rid="f", bitrate=900, packets=60, fps=5.0, width=1280, height=720, receivers=0),
        track("TR_mic", bitrate=64, packets=100, jitter_ms=3.0, frozen_ms=200),
        track("TR_gone", bitrate=1),
        track("TR_screen", flowing=False),
    ]
    assert sampling.sent(Period(1, 2000, rows), TRACKS.get) == {
        "PA_a": {
            "video_loss": 0.03,
            "video_bitrate": 1300,
            "video_stalled_ms": 40,
            "video_fps": 20.0,
            "video_width": 640,
            "video_height": 360,
            "audio_loss": 0.0,
            "audio_bitrate": 64,
            "audio_stalled_ms": 200,
            "jitter_ms": 3.0,
        }
    }


def test_what_each_receives_of_each_is_a_sample() -> None:
    rows = [
        sent("PA_b", "TR_cam", bitrate=500, loss=0.2, fps=30.0, width=640, height=360, jitter_ms=4.0, rtt_ms=20.0),
        sent("PA_b", "TR_mic", bitrate=64, frozen_ms=100),
        sent("PA_b", "TR_screen", bitrate=70, fps=5.0, width=1920, height=1080),
        sent("PA_c", "TR_cam", packets=0),
    ]
    found = list(sampling.received(Period(1, 2000, [], rows), TRACKS.get, 5000))
    assert [(session, peer) for session, peer, _ in found] == [("PA_b", "alice"), ("PA_b", "carol")]
    alice, carol = (sample for _, _, sample in found)
    assert (alice.video_bitrate, alice.video_fps, alice.video_loss, alice.video_width) == (500, 30.0, 0.2, 640)
    assert (alice.audio_bitrate, alice.audio_stalled_ms) == (64, 100)
    assert (alice.downlink_bitrate, alice.downlink_loss, alice.jitter_ms, alice.rtt_ms) == (564, 0.2, 4.0, 20.0)
    assert (carol.aux_width, carol.aux_fps, carol.rtt_ms) == (1920, 5.0, None)


def test_large_rooms_keep_no_pairs() -> None:
    many = [sent(f"PA_{number}", "TR_cam") for number in range(sampling.MOST_PAIRS + 1)]
    assert list(sampling.received(Period(1, 2000, [], many), TRACKS.get, 0)) == []
    assert len(list(sampling.received(Period(1, 2000, [], many[1:]), TRACKS.get, 0))) == sampling.MOST_PAIRS
    assert list(sampling.received(Period(1, 2000, [], [sent(name="", subscriptions=2)]), TRACKS.get, 0)) == []
