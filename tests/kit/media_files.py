"""Short encoded inputs of every kind, as a source gives them: packets with forms and times on the source's own clock.

Pictures have one brightness each that rises by the second; sound is a tone. What is made once is kept for the run.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from rtcloud.ingest import h264
from rtcloud.ingest.media import SourcePacket, StreamForm

US = 1_000_000
Picture = Callable[[int], VideoFrame]


def grey(width: int, height: int, pix_fmt: str = "yuv420p") -> Picture:
    """Pictures whose brightness says which they are."""

    def make(index: int) -> VideoFrame:
        plane = np.full((height, width, 3), brightness(index), np.uint8)
        return VideoFrame.from_ndarray(plane, format="rgb24").reformat(format=pix_fmt)

    return make


def brightness(index: int) -> int:
    return 30 + index * 7 % 200


def video(
    encoder: str,
    picture: Picture,
    times_us: Sequence[int],
    *,
    options: Mapping[str, str] | None = None,
    gop: int = 30,
    b_frames: int = 0,
    fps: int = 30,
    configured: bool = True,
    sar: tuple[int, int] = (1, 1),
) -> list[SourcePacket]:
    """One packet for each picture. ``configured``: parameter sets stand beside the packets as in FLV and MP4; without,
    they are in them as in MPEG-TS."""
    first = picture(0)
    context = cast(VideoCodecContext, av.CodecContext.create(encoder, "w"))
    context.width, context.height, context.pix_fmt = first.width, first.height, first.format.name
    context.time_base, context.framerate, context.gop_size = Fraction(1, US), Fraction(fps), gop
    context.max_b_frames, context.thread_count, context.bit_rate = b_frames, 1, 800_000
    context.sample_aspect_ratio = Fraction(*sar)
    if encoder == "libsvtav1":
        context.bit_rate = 0
    if encoder in ("mpeg2video", "mpeg4"):
        context.time_base = Fraction(1, fps)
    context.options = dict(options or {})
    if configured and encoder in ("libx264", "libx265", "mpeg4", "libsvtav1"):
        context.flags |= 0x400000  # AV_CODEC_FLAG_GLOBAL_HEADER
    found: list[Any] = []
    per = context.time_base
    for index, at in enumerate(times_us):
        frame = picture(index)
        frame.pts, frame.time_base = round(at / US / per), per
        found += context.encode(frame)
    found += context.encode(None)
    extra = bytes(context.extradata or b"") if configured else b""
    codec = {"libx264": "h264", "libx265": "hevc", "libvpx": "vp8", "libvpx-vp9": "vp9", "libsvtav1": "av1"}.get(
        encoder, encoder
    )
    config = avcc(extra) if codec == "h264" and extra else extra
    form = StreamForm("video", codec, config, first.width, first.height)
    return [
        SourcePacket(
            form,
            with_lengths(bytes(packet)) if codec == "h264" and config else bytes(packet),
            round(packet.pts * per * US),
            round(packet.dts * per * US),
            packet.is_keyframe,
        )
        for packet in found
    ]


def every(fps: float, seconds: float, begin_us: int = 0) -> list[int]:
    return [begin_us + round(index * US / fps) for index in range(round(fps * seconds))]


def in_milliseconds(packets: Sequence[SourcePacket]) -> list[SourcePacket]:
    """As FLV has them."""
    return [
        SourcePacket(each.form, each.data, each.pts_us // 1000 * 1000, each.dts_us // 1000 * 1000, each.keyframe)
        for each in packets
    ]


def moved(packets: Sequence[SourcePacket], by_us: int) -> list[SourcePacket]:
    return [
        SourcePacket(each.form, each.data, each.pts_us + by_us, each.dts_us + by_us, each.keyframe) for each in packets
    ]


def tone(
    encoder: str,
    seconds: float,
    *,
    rate: int = 48_000,
    layout: str = "stereo",
    hz: float = 440.0,
    level: float = 0.5,
    bitrate: int = 96_000,
    begin_us: int = 0,
    options: Mapping[str, str] | None = None,
    silent: tuple[float, float] = (0.0, 0.0),
) -> list[SourcePacket]:
    """A tone, silent between two seconds."""
    context = cast(Any, av.CodecContext.create(encoder, "w"))
    formats = [each.name for each in context.codec.audio_formats]
    context.sample_rate, context.layout, context.bit_rate = rate, layout, bitrate
    context.format = formats[0]
    context.time_base = Fraction(1, rate)
    if options:
        context.options = dict(options)
    if encoder == "vorbis":
        context.options = {"strict": "experimental"}
    channels = len(av.AudioLayout(layout).channels)
    size = context.frame_size or rate // 50
    found: list[Any] = []
    fifo = av.AudioResampler(formats[0], layout, rate)
    for index in range(round(seconds * rate / size)):
        positions = np.arange(index * size, (index + 1) * size)
        wave = np.sin(positions * (2 * np.pi * hz / rate)) * level
        wave[(positions >= silent[0] * rate) & (positions < silent[1] * rate)] = 0
        frame = AudioFrame.from_ndarray(np.tile(wave.astype(np.float32), (channels, 1)), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, index * size, Fraction(1, rate)
        for converted in fifo.resample(frame):
            found += context.encode(converted)
    found += context.encode(None)
    codec = {"libopus": "opus", "libmp3lame": "mp3"}.get(encoder, encoder)
    form = StreamForm("audio", codec, bytes(context.extradata or b""), rate=rate, channels=channels)
    return [
        SourcePacket(form, bytes(packet), at, at)
        for packet in found
        if packet.pts is not None and packet.size
        for at in [begin_us + packet.pts * US // rate]
        if packet.pts >= 0
    ]


def merged(*streams: Sequence[SourcePacket]) -> Iterator[SourcePacket]:
    """In the order of decoding, as a muxer lays them."""
    return iter(sorted((packet for stream in streams for packet in stream), key=lambda packet: packet.dts_us))


def avcc(annex_b: bytes) -> bytes:
    units = h264.nal_units(annex_b)
    sps = [unit for unit in units if unit[0] & 31 == 7]
    pps = [unit for unit in units if unit[0] & 31 == 8]
    head = bytes([1]) + sps[0][1:4] + bytes([0xFF, 0xE0 | len(sps)])
    sized = [b"".join(len(unit).to_bytes(2, "big") + unit for unit in kind) for kind in (sps, pps)]
    return head + sized[0] + bytes([len(pps)]) + sized[1]


def with_lengths(annex_b: bytes) -> bytes:
    units = h264.nal_units(annex_b)
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


def damaged(packets: Sequence[SourcePacket], which: Callable[[int], bool]) -> list[SourcePacket]:
    """Some packets are nonsense."""
    return [
        SourcePacket(each.form, bytes([0x5A]) * len(each.data), each.pts_us, each.dts_us, each.keyframe)
        if which(index)
        else each
        for index, each in enumerate(packets)
    ]


def silent_about_order(packets: Sequence[SourcePacket]) -> list[SourcePacket]:
    """H.264 with an avcC whose parameter set leaves out what it is free to: how pictures are reordered."""
    form = packets[0].form
    found = h264.configuration(form.config)
    sets = [_without_usability(each) if each[0] & 31 == h264.SPS else each for each in found.sets]
    config = avcc(h264.annex_b(sets))
    renewed = StreamForm("video", "h264", config, form.width, form.height)
    return [SourcePacket(renewed, each.data, each.pts_us, each.dts_us, each.keyframe) for each in packets]


def _without_usability(sps: bytes) -> bytes:
    said = h264.sequence(sps)
    wanted = dataclasses.replace(said, sar=(1, 1), reorder=None)
    payload = sps[1:].replace(b"\0\0\3", b"\0\0")
    bits = "".join(f"{byte:08b}" for byte in payload)
    for at in range(24, len(bits)):
        if bits[at] == "0":
            continue
        cut = bits[:at] + "01"
        cut += "0" * (-len(cut) % 8)
        unit = sps[:1] + int(cut, 2).to_bytes(len(cut) // 8, "big").replace(b"\0\0\1", b"\0\0\3\1")
        with contextlib.suppress(ValueError):
            if h264.sequence(unit) == wanted:
                return unit
    raise AssertionError("no such parameter set")


def he_aac(
    packets: Sequence[SourcePacket], *, explicit: bool = False, parametric: bool = False, loudness: int = 40
) -> list[SourcePacket]:
    """HE-AAC made of AAC-LC at 24 kHz: each packet says in an extension what the band from 11 to 15 kHz sounds like,
    so loud; ``parametric``: (mono) that there are two channels, alike. The configuration says so, or nothing of it."""
    form = packets[0].form
    config = form.config[:2]
    if explicit:
        bits = f"{5:05b}{6:04b}{form.channels:04b}{3:04b}{2:05b}00"
        config = _bytes(bits)
    renewed = StreamForm("audio", "aac", config, rate=48_000 if explicit else 24_000, channels=form.channels)
    extension = _replication(form.channels, loudness, parametric=parametric)
    return [SourcePacket(renewed, _extended(each.data, extension), each.pts_us, each.dts_us) for each in packets]


def _replication(channels: int, loudness: int, *, parametric: bool) -> str:
    """An ``sbr_extension_data`` (ISO 14496-3, 4.4.2.8) with a header of start 14, stop 7, crossover 2, by which there
    is one band of envelope and one of noise: neither needs an entropy code."""
    header = f"{1:b}{0:01b}{14:04b}{7:04b}{2:03b}{0:02b}00"
    grid, directions, inverse, envelope, noise = "00001", "00", "00", f"{loudness:07b}", f"{10:05b}"
    if channels == 1:
        body = "0" + grid + directions + inverse + envelope + noise + "0"
    else:  # not coupled
        body = "00" + grid * 2 + directions * 2 + inverse * 2 + envelope * 2 + noise * 2 + "00"
    # of parametric stereo: a header without any difference of the channels, and no envelope
    extended = f"1{2:04b}10" + "1000000" + "0000000" if parametric else "0"
    bits = f"{13:04b}" + header + body + extended
    return bits + "0" * (-len(bits) % 8)


def _extended(data: bytes, extension: str) -> bytes:
    """A raw_data_block with a fill element before its end."""
    bits = "".join(f"{byte:08b}" for byte in data).rstrip("0")
    assert bits.endswith("111")
    return _bytes(bits[:-3] + "110" + f"{len(extension) // 8:04b}" + extension + "111")


def _bytes(bits: str) -> bytes:
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")
