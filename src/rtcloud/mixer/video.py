"""Pictures of one track: decoded, after loss too, and scaled into the size they are shown in.

Invariant: a decoder is only ever fed a chain that starts with a keyframe and has no hole. After a hole it keeps the
last picture and asks for a keyframe until one comes.
"""

import io
from typing import Any, Protocol, cast

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from rtcloud.mixer.layout import Fit, Rect

#: the largest picture a sender may make us decode
MAX_PIXELS = 4096 * 2304
#: how often a missing keyframe is asked for
ASK_EVERY_US = 500_000

Plane = npt.NDArray[np.uint8]


class Encoded(Protocol):
    """What the mixer needs of an encoded frame (``client.types.EncodedFrame`` is one)."""

    @property
    def data(self) -> bytes: ...
    @property
    def keyframe(self) -> bool: ...
    @property
    def contiguous(self) -> bool: ...


class VideoDecoder:
    """One track's decoder; the codec is read from each keyframe, as a sender may change it."""

    def __init__(self) -> None:
        self._context: av.VideoCodecContext | None = None
        self._codec = ""
        self._asked_us: int | None = None
        self.waiting = True  # for a keyframe
        self.errors = 0

    def decode(self, frame: Encoded) -> VideoFrame | None:
        """The newest picture this frame completes."""
        if not frame.contiguous and not frame.keyframe:
            self.waiting = True
        if frame.keyframe and not self._start(frame.data):
            self.waiting = True
        if self.waiting or self._context is None:
            return None
        try:
            pictures = self._context.decode(av.Packet(frame.data))
        except av.FFmpegError:
            self.errors += 1
            self.reset()
            return None
        return pictures[-1] if pictures else None

    @property
    def codec(self) -> str:
        """Of what is decoded now; empty before the first keyframe."""
        return self._codec

    def reset(self) -> None:
        """The chain is broken: forget everything up to the next keyframe."""
        self._context = None
        self._codec = ""
        self.waiting = True

    def asks_keyframe(self, now_us: int) -> bool:
        """Whether to ask for one now; True at most every ``ASK_EVERY_US``."""
        if not self.waiting:
            self._asked_us = None
            return False
        if self._asked_us is not None and now_us - self._asked_us < ASK_EVERY_US:
            return False
        self._asked_us = now_us
        return True

    def _start(self, data: bytes) -> bool:
        codec = sniff(data)
        if codec is None:
            return False
        if codec != self._codec or self._context is None:
            context = cast(av.VideoCodecContext, av.CodecContext.create(codec, "r"))
            context.thread_count = 1
            context.options = {"max_pixels": str(MAX_PIXELS), "flags": "+low_delay"}
            self._context, self._codec = context, codec
        self.waiting = False
        return True


def sniff(keyframe: bytes) -> str | None:
    """The codec of a keyframe: VP8 has a start code of its own at byte 3, H.264 comes in Annex B."""
    if keyframe[3:6] == b"\x9d\x01\x2a":
        return "vp8"
    if keyframe.startswith((b"\0\0\0\1", b"\0\0\1")):
        return "h264"
    return None


class Scaler:
    """Crops and scales the pictures of one cell."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def scale(self, picture: VideoFrame, fit: Fit) -> VideoFrame:
        crop = fit.crop
        if picture.format.name not in ("yuv420p", "yuvj420p"):
            picture = self._reformatter.reformat(picture, format="yuv420p", threads=1)
        if (crop.width, crop.height) != (picture.width, picture.height):
            picture = cropped(picture, crop)
        return self._reformatter.reformat(
            picture,
            fit.target.width,
            fit.target.height,
            "yuv420p",
            interpolation=Interpolation.BILINEAR,
            threads=1,  # more would only be woken: a cell is small
        )


def cropped(picture: VideoFrame, crop: Rect) -> VideoFrame:
    """A copy of the even rectangle ``crop``."""
    out = VideoFrame(crop.width, crop.height, picture.format.name)
    for index, (target, source) in enumerate(zip(planes(out), planes(picture), strict=True)):
        half = 1 if index else 0
        top, left = crop.top >> half, crop.left >> half
        target[:] = source[top : top + target.shape[0], left : left + target.shape[1]]
    return out


def png(picture: VideoFrame) -> bytes:
    """As a file; made quickly rather than small, as the output waits meanwhile."""
    target = io.BytesIO()
    cast(Any, picture).to_image().save(target, "PNG", compress_level=1)
    return target.getvalue()


def planes(frame: VideoFrame) -> list[Plane]:
    """The three planes of a 4:2:0 frame, without their padding; writes go into the frame."""
    return [
        np.frombuffer(cast(Any, plane), np.uint8)[: plane.line_size * plane.height].reshape(
            plane.height, plane.line_size
        )[:, : plane.width]
        for plane in frame.planes
    ]
