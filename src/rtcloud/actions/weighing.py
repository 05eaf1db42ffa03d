"""How much of the machine a task is expected to take, in thousandths of a core: what admission counts. Pure.

Figures of ``benches/mix`` on the reference machine. They are meant to be high rather than low: what is admitted must
keep its frame rate.
"""

from rtcloud.egress.publishing.request import RelayRequest
from rtcloud.egress.recording.request import RecordingRequest
from rtcloud.ingest import handling

#: A mixed picture of 1280 × 720 at 30 per second: composed and encoded as H.264.
PICTURE = 430
PICTURE_PIXELS = 1280 * 720 * 30
#: H.265 against H.264.
H265_FACTOR = 2
#: A job, with the decoding of what it receives and its sound.
JOB = 50
#: A job whose pictures go through untouched.
SINGLE = 30
FEEDBACK = 10  # each room
#: What comes in fit for a room: its packets go through, its sound is encoded anew. Counted so until its job says more.
COPIED = handling.COPIED
#: Streams that a recording of single streams is counted for: how many will come is not known before, and most calls are
#: of two.
STREAMS = 2


def of_relay(request: RelayRequest) -> int:
    rooms = request.feed_back_room_params
    load = FEEDBACK * len(rooms)
    if request.video_params is None:
        return load + JOB
    if request.is_single:
        return load + SINGLE
    form = request.video_params.video_encode
    picture = _picture(form.width, form.height, form.fps)
    if request.video_codec == "h264":
        return load + JOB + picture
    return load + JOB + picture * H265_FACTOR + (picture if rooms else 0)  # rooms get H.264 whatever CDNs get


def of_recording(request: RecordingRequest) -> int:
    if request.is_single:
        return JOB + SINGLE * STREAMS
    if request.record_params.stream_type == 1:
        return JOB
    form = request.mix_transcode_params.video_params
    return JOB + _picture(form.width, form.height, form.fps)


def of_push() -> int:
    """What is pushed is not known before it comes; whoever keeps to the documented settings is copied."""
    return COPIED


def _picture(width: int, height: int, fps: int) -> int:
    return -(-PICTURE * width * height * fps // PICTURE_PIXELS)
