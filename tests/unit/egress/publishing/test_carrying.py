"""What the event loop is handed when it does not keep up with the mixing thread."""

from dataclasses import dataclass, field
from typing import Literal

from rtcloud.egress.publishing.carrying import MAX_WAITING, Batch, Carrier
from rtcloud.mixer.clocking import ServerClock
from rtcloud.mixer.encoding import EncodedPacket

FRAME = 1920


@dataclass
class Source:
    origin_us: int | None = 0
    server_clock: ServerClock = field(default_factory=ServerClock)


class Road:
    """A carrier whose loop takes nothing until it is told to."""

    def __init__(self) -> None:
        self.waiting: list[Batch] = []
        self.taken: list[EncodedPacket] = []
        self.kept: list[EncodedPacket] = []
        self.carrier = Carrier(lambda: 0, self.waiting.append, lambda packet, at_us: self.kept.append(packet))
        self.carrier.follow(Source())
        self.times = {"audio": 0, "video": 0}

    def send(self, kind: Literal["audio", "video"], count: int = 1, *, keyframe: bool = True) -> None:
        for _ in range(count):
            self.times[kind] += FRAME
            codec: Literal["aac", "h264"] = "aac" if kind == "audio" else "h264"
            self.carrier.write(EncodedPacket(kind, b"", self.times[kind], keyframe, codec))
            self.carrier.flush()

    def take(self) -> None:
        for batch in self.waiting:
            self.carrier.taken(batch)
            self.taken += [packet for packet, _ in batch.packets]
        self.waiting.clear()


def test_a_loop_that_takes_nothing_gets_no_more_than_the_bound_but_files_get_all() -> None:
    road = Road()
    road.send("audio", MAX_WAITING + 500)
    assert road.carrier.dropped
    road.take()
    assert len(road.taken) == MAX_WAITING
    assert len(road.kept) == MAX_WAITING + 500


def test_sound_goes_on_as_soon_as_there_is_room_although_no_picture_ever_comes() -> None:
    road = Road()
    road.send("audio", MAX_WAITING + 1)
    road.take()
    road.taken.clear()
    road.send("audio", 3)
    road.take()
    assert [packet.time for packet in road.taken] == [FRAME * (MAX_WAITING + each) for each in (2, 3, 4)]


def test_pictures_go_on_with_a_keyframe_which_is_asked_for() -> None:
    road = Road()
    road.send("audio", MAX_WAITING + 1)
    road.take()
    road.taken.clear()
    road.carrier.dropped = False
    road.send("video", keyframe=False)
    assert road.carrier.dropped
    road.carrier.dropped = False
    road.send("audio")
    road.send("video", keyframe=True)
    road.send("video", keyframe=False)
    road.take()
    assert [(packet.kind, packet.keyframe) for packet in road.taken] == [
        ("audio", True),
        ("video", True),
        ("video", False),
    ]
    assert not road.carrier.dropped


def test_a_piece_of_sound_that_two_sources_have_is_carried_once() -> None:
    road = Road()
    road.send("audio", 3)
    for later in (-FRAME, 0, 90, 800, FRAME - 90):
        road.carrier.write(EncodedPacket("audio", b"", 3 * FRAME + later, True, "aac"))
    assert [packet.time for packet in road.kept] == [FRAME, 2 * FRAME, 3 * FRAME, 4 * FRAME - 90]
