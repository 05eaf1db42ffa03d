"""When what was pulled is due, on virtual time."""

from collections.abc import Iterator

from rtcloud.ingest.media import Kind, RoomPacket, SourcePacket, StreamForm
from rtcloud.ingest.pull.pacing import AHEAD_BYTES, AHEAD_US, CUSHION_US, LEAD_US, Cut, Playout
from rtcloud.ingest.pull.timeline import Piece, Timeline

FORMS: dict[Kind, StreamForm] = {"audio": StreamForm("audio", "opus"), "video": StreamForm("video", "vp8")}
MS = 1_000
S = 1_000_000


def packet(kind: Kind, at_us: int, *, size: int = 100, key: bool = True) -> SourcePacket:
    return SourcePacket(FORMS[kind], bytes(size), at_us, at_us, key)


def piece(kind: Kind, at_us: int, epoch: int = 0, size: int = 100) -> Piece:
    return Piece(packet(kind, at_us, size=size), epoch)


class Run:
    """A playout whose pipeline takes no time. ``seen`` is what went out: kind, time in the source, when."""

    def __init__(self, *, live: bool = False, kinds: int = 2) -> None:
        self.playout = Playout()
        self.playout.is_live, self.playout.kinds = live, kinds
        self.now_us = 1_000 * S
        self.seen: list[tuple[str, int, int]] = []
        self.cuts = 0

    def step(self, until_us: int, every_us: int = 5 * MS) -> None:
        while self.now_us < until_us:
            self.now_us += every_us
            self.look()

    def look(self) -> None:
        made = []
        for item in self.playout.take(self.now_us):
            if isinstance(item, Cut):
                self.cuts += 1
            else:
                made.append(RoomPacket(item.kind, "opus" if item.kind == "audio" else "vp8", b"", item.dts_us))
        self.playout.made(made)
        if not self.playout.is_started and self.playout.is_ready and self.playout.has_made:
            self.playout.start(self.now_us)
        for out, at in self.playout.release(self.now_us):
            assert 0 <= self.now_us - at <= 50 * MS or self.playout.shifts
            self.seen.append((out.kind, out.time_us, self.now_us))


def fill(run: Run, seconds: float, begin_us: int = 0) -> Iterator[tuple[int, Piece]]:
    times = [(at, piece("audio", at)) for at in range(begin_us, begin_us + int(seconds * S), 20 * MS)]
    times += [(at, piece("video", at)) for at in range(begin_us, begin_us + int(seconds * S), 40 * MS)]
    return iter(sorted(times, key=lambda one: one[0]))


def test_a_file_is_played_at_the_pace_of_the_clock_without_drift() -> None:
    run = Run()
    waiting = fill(run, 60)
    upcoming = next(waiting, None)
    while upcoming is not None or not run.playout.is_over:
        while upcoming is not None and not run.playout.is_full:
            run.playout.put(upcoming[1], run.now_us)
            upcoming = next(waiting, None)
        if upcoming is None:
            run.playout.complete()
        run.step(run.now_us + 20 * MS)
    run.step(run.now_us + S)
    begin = run.seen[0][2]
    assert len(run.seen) == 60 * 75
    assert all(0 <= seen - begin - at <= 10 * MS for _, at, seen in run.seen)
    assert run.playout.has_played(run.now_us)


def test_reading_ahead_is_bounded_in_time_and_in_bytes() -> None:
    run = Run()
    for at, each in fill(run, 30):
        if run.playout.is_full:
            break
        run.playout.put(each, run.now_us)
        assert at <= AHEAD_US + 40 * MS
    large = Run()
    for at in range(0, S, 40 * MS):
        large.playout.put(piece("video", at, size=4 << 20), large.now_us)
        if large.playout.is_full:
            break
    assert at * 4 // (40 * MS) << 20 <= AHEAD_BYTES


def test_one_kind_that_does_not_come_holds_up_the_other_only_for_a_while() -> None:
    run = Run()
    for at in range(0, 5 * S, 20 * MS):
        run.playout.put(piece("audio", at), run.now_us)
    run.step(run.now_us + S)
    assert run.seen[0][:2] == ("audio", 0)


def test_kinds_that_lie_apart_in_the_file_come_together() -> None:
    run = Run()
    for at in range(0, S, 20 * MS):
        run.playout.put(piece("audio", at), run.now_us)
    for at in range(0, S, 40 * MS):
        run.playout.put(piece("video", at), run.now_us)
    run.step(run.now_us + 2 * S)
    moments = {kind: [seen - at for each, at, seen in run.seen if each == kind] for kind in ("audio", "video")}
    assert abs(moments["audio"][-1] - moments["video"][-1]) <= 10 * MS
    assert not run.playout.shifts


def test_an_outage_shifts_what_comes_after_it() -> None:
    run = Run(kinds=1)
    for at in range(0, S, 20 * MS):
        run.playout.put(piece("audio", at), run.now_us)
    run.step(run.now_us + 3 * S)
    for at in range(S, 2 * S, 20 * MS):
        run.playout.put(piece("audio", at), run.now_us)
    run.step(run.now_us + 3 * S)
    assert [at for _, at, _ in run.seen] == list(range(0, 2 * S, 20 * MS))
    gap = run.seen[50][2] - run.seen[49][2]
    assert 2 * S - 100 * MS <= gap <= 2 * S + 100 * MS
    after = [seen for _, _, seen in run.seen[50:]]
    assert all(abs(later - earlier - 20 * MS) <= 10 * MS for earlier, later in zip(after, after[1:], strict=False))


def test_a_pause_stops_everything_and_goes_on_where_it_was() -> None:
    run = Run(kinds=1)
    for at in range(0, 2 * S, 20 * MS):
        run.playout.put(piece("audio", at), run.now_us)
    run.step(run.now_us + S)
    before = len(run.seen)
    run.playout.pause(run.now_us)
    run.step(run.now_us + 60 * S, every_us=S)
    assert len(run.seen) == before
    run.playout.resume(run.now_us)
    run.playout.complete()
    run.step(run.now_us + 3 * S)
    assert [at for _, at, _ in run.seen] == list(range(0, 2 * S, 20 * MS))
    assert not run.playout.shifts


def test_rounds_join_and_the_pipeline_is_told_of_each() -> None:
    run = Run(kinds=2)
    timeline = Timeline()
    for _ in range(20):
        timeline.begin(0)
        for at in range(0, 1_000 * MS, 20 * MS):
            # the sound begins before the pictures, as in MP4
            placed = timeline.place(packet("audio", at - 21 * MS))
            assert placed is not None
            run.playout.put(placed, run.now_us)
            if at % (40 * MS) == 0 and (picture := timeline.place(packet("video", at, key=at == 0))) is not None:
                run.playout.put(picture, run.now_us)
        run.step(run.now_us + 1_010 * MS)
    run.playout.complete()
    run.step(run.now_us + 4 * S)
    assert run.cuts == 19
    for kind in ("audio", "video"):
        moments = [seen for each, _, seen in run.seen if each == kind]
        assert max(later - earlier for earlier, later in zip(moments, moments[1:], strict=False)) <= 110 * MS


def test_a_live_source_keeps_its_distance_though_its_clock_is_fast_or_slow() -> None:
    for ppm in (300, -300):
        run = Run(live=True, kinds=1)
        begin = run.now_us
        for number in range(8 * 60 * 25):
            due = begin + round(number * 40 * MS / (1 + ppm / 1e6))
            run.now_us = max(run.now_us, due)
            run.playout.put(piece("audio", number * 40 * MS), run.now_us)
            run.look()
        assert run.playout.shifts == 0
        assert CUSHION_US - 80 * MS <= run.playout.ahead_us + LEAD_US <= CUSHION_US + 80 * MS, ppm


def test_what_waits_goes_nowhere_after_a_restart() -> None:
    run = Run(kinds=1)
    for at in range(0, S, 20 * MS):
        run.playout.put(piece("audio", at), run.now_us)
    run.step(run.now_us + 100 * MS)
    run.playout.restart()
    for at in range(100 * S, 101 * S, 20 * MS):
        run.playout.put(piece("audio", at, 1), run.now_us)
    run.seen.clear()
    run.look()
    assert run.seen[0][1] == 100 * S
    assert run.cuts == 1


def test_what_is_live_begins_with_its_first_picture() -> None:
    run = Run(live=True)
    for at in range(0, 3 * S, 20 * MS):
        run.now_us += 20 * MS
        run.playout.put(piece("audio", at), run.now_us)
        if at >= 900 * MS and at % (40 * MS) == 0:  # the first keyframe comes late
            run.playout.put(piece("video", at), run.now_us)
        run.look()
    assert run.seen[0][1] >= 900 * MS - 40 * MS
    behind = run.now_us - (1_000 * S + 20 * MS) - run.seen[-1][1]
    assert behind <= CUSHION_US + 100 * MS


def test_only_what_cannot_wait_for_the_next_look_asks_for_one() -> None:
    run = Run(kinds=1)
    playout = run.playout
    assert all(playout.put(piece("audio", at), run.now_us) for at in range(0, 2 * S, 20 * MS))  # it has not begun
    run.look()
    assert playout.is_started
    assert not playout.put(piece("audio", 2 * S), run.now_us)
    assert not playout.made([])  # others are before it
    run.step(run.now_us + 2 * S + LEAD_US)
    assert playout.put(piece("audio", 2 * S + LEAD_US + 20 * MS), run.now_us)
    assert playout.next_us(run.now_us) is None
    assert playout.made([RoomPacket("audio", "opus", b"", 2 * S)])
