"""Reading what is pushed by RTMP: from bytes of a connection to encoded frames, CPU per stream of 5 Mbit/s.

With the chunks of OBS, with those that our server makes FFmpeg use, and with the smallest that clients begin with.
"""

import functools
import time

from benches.figures import Figure, median_of
from rtcloud.ingest.flv import FlvReader
from rtcloud.rtmp import amf, chunks
from rtcloud.rtmp.chunks import ChunkWriter, Message
from rtcloud.rtmp.serving import CHUNK_SIZE, Media, Server

SECONDS = 20
MEGABITS = 5
PIECE = 16 * 1024  # what one read gives
BUDGET = 0.01
CHUNKS = (128, 4096, CHUNK_SIZE)

_AVC_CONFIG = bytes.fromhex("17000000000142001effe100046742001e01000268ce")


def run() -> list[Figure]:
    figures = []
    for size in CHUNKS:
        share = median_of(5, functools.partial(_read, *_stream(size))) / SECONDS
        figures.append(Figure("rtmp", f"reading {MEGABITS} Mbit/s in chunks of {size}", share, "core", BUDGET))
    return figures


def _read(opening: bytes, media: bytes) -> float:
    server, reader = Server(bytes(1528)), FlvReader()
    server.receive(opening)
    while server.waits:
        server.accept()
    began, count = time.process_time(), 0
    for at in range(0, len(media), PIECE):
        for event in server.receive(media[at : at + PIECE]):
            assert isinstance(event, Media)
            count += len(reader.receive(event.kind, event.data, event.time_ms))
        server.take_output()
    took = time.process_time() - began
    assert count == SECONDS * (30 + 50)
    return took


def _stream(chunk_size: int) -> tuple[bytes, bytes]:
    """30 pictures and 50 packets of sound in a second."""
    writer = ChunkWriter()

    def say(kind: int, data: bytes, time_ms: int = 0, stream: int = 1, name: int = 6) -> bytes:
        return writer.write(Message(kind, data, time_ms, stream), name)

    opening = b"\3" + bytes(3072) + say(chunks.COMMAND, amf.encode("connect", 1.0, {"app": "push"}), stream=0, name=3)
    opening += say(chunks.COMMAND, amf.encode("createStream", 2.0, None), stream=0, name=3)
    opening += say(chunks.COMMAND, amf.encode("publish", 3.0, None, "x", "live"), name=3)
    opening += say(chunks.SET_CHUNK_SIZE, chunk_size.to_bytes(4, "big"), stream=0, name=2)
    writer.size = chunk_size
    size = MEGABITS * 1_000_000 // 8 // 30 - 700
    picture = bytes.fromhex("2701000000") + size.to_bytes(4, "big") + bytes(size)
    tags = [(chunks.VIDEO, picture, turn * 1000 // 30) for turn in range(30 * SECONDS)]
    tags += [(chunks.AUDIO, b"\xaf\1" + bytes(400), turn * 20) for turn in range(50 * SECONDS)]
    media = say(chunks.VIDEO, _AVC_CONFIG) + say(chunks.AUDIO, b"\xaf\0\x12\x10", name=4)
    media += b"".join(
        say(kind, data, time_ms, name=6 if kind == chunks.VIDEO else 4)
        for kind, data, time_ms in sorted(tags, key=lambda tag: tag[2])
    )
    return opening, media


if __name__ == "__main__":
    for figure in run():
        print(figure)
