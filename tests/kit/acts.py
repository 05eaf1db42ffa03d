"""What people on the stage show and say, encoded once and then played for ever: pictures and tones that can be told
apart and measured after mixing, scaling and encoding again.

A picture is of one colour up to its edges, so that where it lies in a mix is the bounding box of its colour. Inside are
a block that turns white for the first fifth of each second (the flash), a strip of black and white bars that counts the
loop's pictures in Gray code (the clock), and a block that moves. The sound is a steady tone, with a loud beep of 3 kHz
beginning with each flash. Loops are whole seconds long and are played from a whole second on.
"""

import functools
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import PictureType

from tests.kit.probes import BEEP_HZ, Region

RATE = 48_000
PACKET = 960  # 20 ms
PACKETS_PER_SECOND = RATE // PACKET
#: Samples by which a decoder is later than its encoder.
OPUS_DELAY = 312
BEEP_S = 0.1
FLASH_SHARE = 5  # a fifth of each second
#: Seconds of a video loop: what the clock tells is the time of capture modulo this.
LOOP_S = 4

FLASH = Region(0.34, 0.12, 0.66, 0.40)
CLOCK = Region(0.10, 0.48, 0.90, 0.64)
_MOVING = Region(0.10, 0.72, 0.90, 0.88)

#: Colours that stay apart after lossy video, in the order in which people get them: full hues, since where a colour
#: meets black or white there is a line of its shades and tints.
PALETTE = (
    *((216, 24, 24), (24, 216, 24), (24, 24, 216), (216, 216, 24), (216, 24, 216), (24, 216, 216)),
    *((216, 120, 24), (24, 120, 216), (120, 216, 24), (216, 24, 120), (120, 24, 216), (24, 216, 120)),
)
Pixels = npt.NDArray[np.uint8]
Codec = Literal["h264", "vp8"]

_ENCODERS: dict[Codec, tuple[str, dict[str, str]]] = {
    "h264": (
        "libx264",
        {"preset": "veryfast", "tune": "zerolatency", "profile": "baseline", "x264-params": "threads=1"},
    ),
    "vp8": ("libvpx", {"deadline": "realtime", "lag-in-frames": "0", "cpu-used": "8", "threads": "1"}),
}


@dataclass(frozen=True)
class Act:
    """``number`` chooses colour and tone. ``amplitude`` is of the tone, 1 is full scale; ``ppm`` is how much faster
    the person's crystal runs."""

    number: int
    width: int = 320
    height: int = 180
    fps: int = 15
    amplitude: float = 0.1
    flash: bool = False
    ppm: float = 0.0
    picture: bool = True
    sound: bool = True
    screen: bool = False
    bitrate: int = 250_000
    codec: Codec = "h264"

    @property
    def color(self) -> tuple[int, int, int]:
        return PALETTE[self.number % len(PALETTE)]

    @property
    def hz(self) -> int:
        return tone_of(self.number)

    @property
    def bits(self) -> int:
        return (self.fps * LOOP_S - 1).bit_length()

    def pictures(self) -> list[bytes]:
        """``fps * LOOP_S`` access units; each second begins with a keyframe."""
        return _pictures(self.color, self.width, self.height, self.fps, self.flash, self.bitrate, self.codec)

    def packets(self) -> list[bytes]:
        """Opus of one second."""
        return _packets(self.hz, self.amplitude, self.flash)


def tone_of(number: int) -> int:
    return 300 + 110 * number


def hex_of(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def draw(color: tuple[int, int, int], width: int, height: int, fps: int, count: int, flash: bool) -> Pixels:
    """RGB of the loop's picture ``count``."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = color
    FLASH.of(picture)[:] = 255 if flash and count % fps * FLASH_SHARE < fps else 0
    strip = CLOCK.of(picture)
    bits = (fps * LOOP_S - 1).bit_length()
    gray = count ^ (count >> 1)
    # The first bar is always white and the second black: what is read must show both.
    bars = [1, 0, *((gray >> bit) & 1 for bit in range(bits))]
    edges = np.linspace(0, strip.shape[1], len(bars) + 1).astype(int)
    for bar, left, right in zip(bars, edges, edges[1:], strict=False):
        strip[:, left:right] = 255 * bar
    lane = _MOVING.of(picture)
    span = max(2, lane.shape[1] // 8)
    left = count * 3 % (lane.shape[1] - span)
    lane[:, left : left + span] = 0
    return picture


def read_clock(picture: Pixels, fps: int) -> int | None:
    """The count in a picture of one person, None when it cannot be read."""
    strip = CLOCK.of(picture).astype(np.float32).mean(axis=2)
    bits = (fps * LOOP_S - 1).bit_length()
    rows, columns = strip.shape
    middle = strip[rows // 4 : max(rows * 3 // 4, rows // 4 + 1)].mean(axis=0)
    edges = np.linspace(0, columns, bits + 3)
    width = columns / (bits + 2)
    levels = [float(middle[int(left + width * 0.3) : int(left + width * 0.7) + 1].mean()) for left in edges[:-1]]
    if levels[0] < 150 or levels[1] > 105 or any(90 < level < 165 for level in levels[2:]):
        return None
    gray = sum((level > 127) << bit for bit, level in enumerate(levels[2:]))
    count = 0
    while gray:
        count ^= gray
        gray >>= 1
    return count if count < fps * LOOP_S else None


@functools.lru_cache(maxsize=64)
def _pictures(
    color: tuple[int, int, int], width: int, height: int, fps: int, flash: bool, bitrate: int, codec: Codec
) -> list[bytes]:
    name, options = _ENCODERS[codec]
    encoder = av.CodecContext.create(name, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, fps), Fraction(fps)
    encoder.bit_rate = bitrate
    encoder.gop_size = 10_000
    encoder.options = options
    units = []
    for count in range(fps * LOOP_S):
        pixels = draw(color, width, height, fps, count, flash)
        picture = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
        picture.pts, picture.time_base = count, Fraction(1, fps)
        if count % fps == 0:
            picture.pict_type = PictureType.I
        units.append(b"".join(bytes(packet) for packet in encoder.encode(picture)))
    return units


@functools.lru_cache(maxsize=64)
def _packets(hz: int, amplitude: float, flash: bool) -> list[bytes]:
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = RATE, "mono", av.AudioFormat("s16")
    encoder.bit_rate = 64_000
    # Hybrid and CELT frames alike may be joined at the loop's end when the state before it is what it was a second ago.
    times = np.arange(RATE) / RATE
    wave = amplitude * np.sin(2 * np.pi * hz * times)
    if flash:
        beep = times < BEEP_S
        wave[beep] = 0.6 * np.sin(2 * np.pi * BEEP_HZ * times[beep])
    # Played through a decoder, sample 0 then comes out at the second's beginning.
    second = (np.roll(wave, -OPUS_DELAY) * 32767).astype(np.int16)
    packets: list[bytes] = []
    for number in range(3 * PACKETS_PER_SECOND):
        at = number % PACKETS_PER_SECOND * PACKET
        frame = av.AudioFrame.from_ndarray(second[at : at + PACKET].reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, number * PACKET, Fraction(1, RATE)
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    assert len(packets) >= 2 * PACKETS_PER_SECOND, len(packets)
    return packets[PACKETS_PER_SECOND : 2 * PACKETS_PER_SECOND]
