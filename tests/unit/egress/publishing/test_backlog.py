from rtcloud.egress.publishing.backlog import MOST_BYTES, MOST_MS, PATIENCE_MS, Backlog
from rtcloud.egress.publishing.flv import FlvTag

SCRIPT = FlvTag("script", 0, b"meta", is_header=True)
PICTURES = FlvTag("video", 0, b"avcC", is_header=True)
SOUNDS = FlvTag("audio", 0, b"asc", is_header=True)
HEADERS = [SCRIPT, PICTURES, SOUNDS]


def picture(time_ms: int, *, key: bool = False, size: int = 1) -> FlvTag:
    return FlvTag("video", time_ms, bytes(size), keyframe=key)


def sound(time_ms: int) -> FlvTag:
    return FlvTag("audio", time_ms, b"a")


def backlog(*, has_video: bool = True) -> Backlog:
    return Backlog(lambda: HEADERS if has_video else [SCRIPT, SOUNDS], has_video=has_video)


def taken(queue: Backlog) -> list[tuple[str, int]]:
    return [(tag.kind + ("*" if tag.is_header else ""), tag.time_ms) for tag in queue.take(1 << 30)]


BEGIN = [("script*", 0), ("video*", 0), ("audio*", 0)]


def test_a_connection_begins_with_the_next_keyframe_at_time_0() -> None:
    queue = backlog()
    for tag in (sound(5000), picture(5010), sound(5020), picture(5040, key=True), sound(5050), picture(5080)):
        assert queue.put(tag)
    assert taken(queue) == [*BEGIN, ("video", 0), ("audio", 10), ("video", 40)]


def test_sound_alone_begins_at_once() -> None:
    queue = backlog(has_video=False)
    queue.put(sound(700))
    queue.put(sound(720))
    assert taken(queue) == [("script*", 0), ("audio*", 0), ("audio", 0), ("audio", 20)]


def test_sound_does_not_wait_for_a_camera_that_is_off() -> None:
    queue = backlog()
    for time_ms in range(0, PATIENCE_MS + 40, 20):
        queue.put(sound(time_ms))
    assert taken(queue) == [*BEGIN, ("audio", 0), ("audio", 20)]
    queue.put(picture(PATIENCE_MS + 40))
    queue.put(picture(PATIENCE_MS + 80, key=True))
    assert taken(queue) == [("script*", 80), ("video*", 80), ("video", 80)]


def test_changed_headers_go_where_they_come() -> None:
    queue = backlog()
    for tag in (SCRIPT, PICTURES, picture(100, key=True), SCRIPT, PICTURES, picture(140, key=True)):
        queue.put(tag)
    assert [kind for kind, _ in taken(queue)] == ["script*", "video*", "audio*", "video", "script*", "video*", "video"]


def test_too_much_is_dropped_to_the_next_keyframe_and_times_go_on() -> None:
    queue = backlog()
    queue.put(picture(0, key=True))
    times = range(40, MOST_MS + 80, 40)
    assert [queue.put(picture(time_ms)) for time_ms in times] == [True] * (len(times) - 1) + [False]
    assert queue.dropped == len(times) + 1
    assert queue.waiting_ms == 0
    queue.put(picture(6100))
    queue.put(sound(6110))
    queue.put(picture(6120, key=True))
    assert taken(queue) == [("script*", 6120), ("video*", 6120), ("audio*", 6120), ("video", 6120)]


def test_too_many_bytes_are_dropped() -> None:
    queue = backlog()
    assert queue.put(picture(0, key=True, size=MOST_BYTES // 2))
    assert not queue.put(picture(40, size=MOST_BYTES // 2 + 1))
    assert queue.take(1) == []


def test_what_is_taken_makes_room() -> None:
    queue = backlog()
    for number in range(100):
        assert queue.put(picture(number * 40, key=True, size=MOST_BYTES // 4))
        queue.take(1 << 30)
