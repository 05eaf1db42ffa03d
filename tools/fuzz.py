"""``make fuzz``: random and damaged input for everything that reads bytes from the network.

First the parsers of the control plane, each by itself: whatever comes, the answer is a value or the parser's own typed
error, soon. Then a running server through its real sockets (``attacks``). A finding is printed as hex and ends with
status 1. The media engine's parsers, each by itself, are ``fuzz_engine``'s.
"""

import argparse
import base64
import random
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from livekit.protocol import rtc

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from rtcloud.accounts import privatemapkey  # noqa: E402
from rtcloud.accounts.policies import PRESETS, PolicyError, parse_document  # noqa: E402
from rtcloud.accounts.privatemapkey import PrivateMapKeyError  # noqa: E402
from rtcloud.accounts.tokens import TokenError, verify_join_token  # noqa: E402
from rtcloud.accounts.usersig import UserSigError, make_user_sig, verify_user_sig  # noqa: E402
from rtcloud.apimodel.model import load_model  # noqa: E402
from rtcloud.apimodel.validation import validate  # noqa: E402
from rtcloud.egress.publishing.flv import AudioFormat, FlvMaker  # noqa: E402
from rtcloud.errors import ServiceError  # noqa: E402
from rtcloud.gateway.decoding.fields import Field, parse_form, parse_multipart  # noqa: E402
from rtcloud.gateway.decoding.unflattening import decode_json, unflatten  # noqa: E402
from rtcloud.gateway.signing import v1  # noqa: E402
from rtcloud.gateway.signing.tc3 import parse_authorization  # noqa: E402
from rtcloud.ingest.copying import H264Reader  # noqa: E402
from rtcloud.ingest.fitness import Limits  # noqa: E402
from rtcloud.ingest.flv import FlvReader  # noqa: E402
from rtcloud.ingest.media import Handling, RoomPacket, SourcePacket, StreamForm  # noqa: E402
from rtcloud.ingest.pipeline import Pipeline, PipelineSettings  # noqa: E402
from rtcloud.ingest.pull import playlists  # noqa: E402
from rtcloud.ingest.pull.forwarding import CutError, Watch  # noqa: E402
from rtcloud.mixer.encoding import VideoCodec  # noqa: E402
from rtcloud.rtmp import amf, chunks  # noqa: E402
from rtcloud.rtmp.address import AddressError, parse_address  # noqa: E402
from rtcloud.rtmp.errors import RtmpError  # noqa: E402
from rtcloud.rtmp.media import Media  # noqa: E402
from rtcloud.rtmp.playing import Player  # noqa: E402
from rtcloud.rtmp.publishing import Publisher  # noqa: E402
from rtcloud.rtmp.serving import Server as RtmpServer  # noqa: E402
from rtcloud.signal.joining import JoinRequestError, parse_v0, parse_v1  # noqa: E402
from rtcloud.whip import sdp  # noqa: E402
from rtcloud.whip.problems import Problem  # noqa: E402
from tests.kit import whip  # noqa: E402
from tests.kit.encoded import in_order, pictures, sound  # noqa: E402
from tools.attacks import FORM, SIMULCAST, fuzz_server, mutate, part  # noqa: E402

NOW_MS = 1_700_000_000_000
SLOW_S = 0.5
APP, KEY = 1400000000, "5" * 64


@dataclass(frozen=True)
class Target:
    name: str
    read: Callable[[bytes], object]
    allowed: tuple[type[Exception], ...]
    seeds: list[bytes] = field(default_factory=list)


def _user_sig(data: bytes) -> object:
    text = data.decode("latin-1")
    return verify_user_sig(text, sdk_app_id=APP, secret_keys=(KEY,), user_id="alice", now_ms=NOW_MS)


def _token(data: bytes) -> object:
    return verify_join_token(data.decode("latin-1"), lambda _: (KEY,), NOW_MS)


def _private_map(data: bytes) -> object:
    return privatemapkey.parse(data)


def _policy(data: bytes) -> object:
    return parse_document(data.decode("latin-1"), account_uin="1")


def _join_request(data: bytes) -> object:
    return parse_v1({"join_request": base64.urlsafe_b64encode(data).decode()})


def _old_query(data: bytes) -> object:
    parts = data.decode("latin-1").split("&")
    return parse_v0(dict(part.partition("=")[::2] for part in parts))


def _authorization(data: bytes) -> object:
    return parse_authorization(data.decode("latin-1"))


def _offer(data: bytes) -> object:
    return sdp.with_credentials(sdp.read_published(data), sdp.Credentials("abcd", "p" * 22))


def _played_offer(data: bytes) -> object:
    return sdp.read_played(data)


def _answer(data: bytes) -> object:
    text = data.decode("latin-1")
    offer = sdp.read_published(whip.offer().encode())
    return sdp.fragment_of(text), sdp.finish_answer(text, offer, direction="recvonly")


MODEL = load_model()
ACTION = MODEL.actions["CreateCloudRecording"]


def _json_body(data: bytes) -> object:
    return validate(MODEL, ACTION, decode_json(data))


def _form(data: bytes) -> object:
    return _parameters(parse_form(data))


def _multipart(data: bytes) -> object:
    return _parameters(parse_multipart(data, "multipart/form-data; boundary=B"))


def _parameters(fields: dict[str, Field]) -> object:
    return validate(MODEL, ACTION, unflatten(MODEL, ACTION, fields.values()))


def _v1_signature(data: bytes) -> object:
    texts = {name: field.text for name, field in parse_form(data).items()}
    return v1.verify({"Signature": ""} | texts, "k", method="GET", host="h")


def _rtmp_address(data: bytes) -> object:
    return parse_address(data.decode("latin-1"))


_SHAKEN = b"\3" + bytes(3072)


def _rtmp_publisher(data: bytes) -> object:
    """The server's side of a connection, in two pieces."""
    publisher = Publisher(parse_address("rtmp://a/live/x"), noise=bytes(1528))
    publisher.begin()
    half = len(data) // 2
    return publisher.receive(_SHAKEN + data[:half]), publisher.receive(data[half:])


def _rtmp_player(data: bytes) -> object:
    player = Player(parse_address("rtmp://a/live/x"), bytes(1528))
    player.begin()
    half = len(data) // 2
    return player.receive(_SHAKEN + data[:half]), player.receive(data[half:])


def _rtmp_server(data: bytes) -> object:
    """A client that is taken whatever it asks for, and its media."""
    server, reader = RtmpServer(bytes(1528)), FlvReader()
    half = len(data) // 2
    found = []
    for piece in (_SHAKEN + data[:half], data[half:]):
        events = server.receive(piece)
        while server.waits:
            events += server.accept()
        for event in events:
            if isinstance(event, Media):
                found += reader.receive(event.kind, event.data, event.time_ms)
    return found


def _flv(data: bytes) -> object:
    """A configuration of each kind, then messages: kind, length, body."""
    reader = FlvReader()
    for kind, config in ((chunks.VIDEO, _AVC_CONFIG), (chunks.AUDIO, b"\xaf\0\x12\x10")):
        reader.receive(kind, config, 0)
    found, at = [], 0
    while at + 2 < len(data):
        kind = (chunks.VIDEO, chunks.AUDIO, chunks.DATA)[data[at] % 3]
        found += reader.receive(kind, data[at + 2 : at + 2 + data[at + 1]], at)
        at += 2 + data[at + 1]
    return found


def _pushed(data: bytes) -> object:
    """Messages with a length of three bytes, through to what a room gets."""
    reader, pipeline, at = FlvReader(), Pipeline(PipelineSettings(), lambda _: None), 0
    while at + 4 < len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        for packet in reader.receive(data[at], data[at + 4 : at + 4 + size], at // 8):
            pipeline.put(packet)
        at += 4 + size
    pipeline.cut()
    return pipeline.flush()


def _pushes() -> list[bytes]:
    """Pictures and sound of a moment, in H.264 and in H.265."""
    numbers = {"audio": chunks.AUDIO, "video": chunks.VIDEO, "script": chunks.DATA}
    codecs: tuple[VideoCodec, ...] = ("h264", "h265")
    seeds = []
    for codec in codecs:
        maker = FlvMaker(codec, AudioFormat(48_000, 2))
        made = [tag for packet in in_order(pictures(codec, 64, 64, 6, gop=3), sound(6)) for tag in maker.make(packet)]
        tags = [*maker.headers, *made]
        seeds.append(b"".join(bytes([numbers[tag.kind]]) + len(tag.data).to_bytes(3, "big") + tag.data for tag in tags))
    return seeds


def _amf(data: bytes) -> object:
    return amf.decode(data)


def _written(said: list[tuple[int, bytes]], stream: int = 0) -> bytes:
    writer = chunks.ChunkWriter()
    return b"".join(writer.write(chunks.Message(kind, data, stream=stream), 3) for kind, data in said)


_AVC_CONFIG = bytes.fromhex("17000000000142001effe100046742001e01000268ce")
_AVC_FRAME = bytes.fromhex("170100002800000003650102")
_FLV_MESSAGES = [
    (chunks.VIDEO, _AVC_FRAME),
    (chunks.AUDIO, b"\xaf\1abc"),
    (chunks.DATA, amf.encode("onMetaData", amf.Associative(width=2.0, encoder="x", stereo=True))),
    (chunks.VIDEO, bytes.fromhex("9001") + b"hvc1" + bytes(30)),
    (chunks.VIDEO, bytes.fromhex("970203d09001") + b"av01frame"),
    (chunks.VIDEO, bytes.fromhex("9621") + b"vp09\1\0\0\3abcav01\0\0\0\3def"),
    (chunks.AUDIO, bytes.fromhex("90") + b"OpusOpusHead\1\2"),
    (chunks.AUDIO, bytes.fromhex("91") + b"Opus\xfcabc"),
]


def _rtmp_questions() -> bytes:
    """A publisher's, up to its media."""
    about: dict[str, amf.Value] = {"app": "push?a=1", "tcUrl": "rtmp://a/push", "fourCcList": ["hvc1"]}
    said = [
        (chunks.SET_CHUNK_SIZE, bytes.fromhex("00001000")),
        (chunks.COMMAND, amf.encode("connect", 1.0, about)),
        (chunks.COMMAND, amf.encode("releaseStream", 2.0, None, "x")),
        (chunks.COMMAND, amf.encode("createStream", 3.0, None)),
    ]
    published = [(chunks.COMMAND, amf.encode("publish", 4.0, None, "x?b=2", "live")), *_FLV_MESSAGES]
    aggregate = [(chunks.AGGREGATE, b"\x08\0\0\5" + bytes(7) + b"\xaf\1abc" + bytes(4))]
    last = [(chunks.COMMAND, amf.encode("deleteStream", 5.0, None, 1.0))]
    return _written(said) + _written([*published, *aggregate], stream=1) + _written(last)


def _h264(data: bytes) -> object:
    """The first half as a configuration, and both as frames."""
    half = len(data) // 2
    form = StreamForm("video", "h264", data[:half])
    reader = H264Reader(form, Limits())
    return [reader.read(SourcePacket(form, each, 0, 0)) for each in (data[half:], data)]


def _ingest(data: bytes) -> object:
    """Frames: a stream and a time, length, body; streams are of all codecs, some with a configuration."""
    told: list[Handling] = []
    pipeline = Pipeline(PipelineSettings(), told.append)
    made: list[RoomPacket] = []
    at = time_us = 0
    while at + 2 < len(data):
        form = _FORMS[data[at] % len(_FORMS)]
        time_us += (data[at] - 100) * 1000
        body = data[at + 2 : at + 2 + data[at + 1]]
        made += pipeline.put(SourcePacket(form, body, time_us, time_us, data[at + 1] % 5 != 0))
        at += 2 + data[at + 1]
    return [*made, *pipeline.flush()], told


def _playlist(data: bytes) -> object:
    return playlists.prepare(data.decode("utf-8", "replace"), "https://host/a/b.m3u8")


def _rtsp(data: bytes) -> object:
    watch = Watch()
    for at in range(0, len(data), 7):
        watch.look(data[at : at + 7])
    return watch


def _rtmp_answers() -> bytes:
    said = [
        (chunks.WINDOW_SIZE, bytes.fromhex("00000400")),
        (chunks.SET_CHUNK_SIZE, bytes.fromhex("00001000")),
        (chunks.COMMAND, amf.encode("_result", 1.0, {"fmsVer": "x"}, {"code": "NetConnection.Connect.Success"})),
        (chunks.COMMAND, amf.encode("_result", 4.0, None, 1.0)),
        (chunks.USER_CONTROL, bytes.fromhex("000600001234")),
        (chunks.COMMAND, amf.encode("onStatus", 0.0, None, {"level": "status", "code": "NetStream.Publish.Start"})),
    ]
    return _written(said)


def _rtmp_broadcast() -> bytes:
    """What a player is answered."""
    said = [
        (chunks.SET_CHUNK_SIZE, bytes.fromhex("00001000")),
        (chunks.COMMAND, amf.encode("_result", 1.0, {}, {"code": "NetConnection.Connect.Success"})),
        (chunks.COMMAND, amf.encode("_result", 2.0, None, 1.0)),
    ]
    played = amf.encode("onStatus", 0.0, None, {"level": "status", "code": "NetStream.Play.Start"})
    over = amf.encode("onPlayStatus", {"code": "NetStream.Play.Complete"})
    return _written(said) + _written([(chunks.COMMAND, played), *_FLV_MESSAGES, (chunks.DATA, over)], stream=1)


_JSON = b'{"SdkAppId":14,"RoomId":"1","RecordParams":{"RecordMode":2},"MixLayoutParams":{"MixLayoutList":[{"Top":1}]}}'


_MAP = "0000077869616f6a756e53724e000000271066413f00000000ff00000000"


def _wrapped_join() -> bytes:
    request = rtc.JoinRequest(publisher_offer=rtc.SessionDescription(type="offer", sdp="v=0\r\n"))
    return rtc.WrappedJoinRequest(join_request=request.SerializeToString()).SerializeToString()


_AVCC = bytes.fromhex("0142c01effe1001567420bc01e8c8d40a02ff970110000030001000003003c0f162ee001000468ce3c80")
_FORMS = [
    StreamForm("video", "h264", _AVCC),
    *(StreamForm("video", codec) for codec in ("h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "flv1", "vp6f", "mjpeg")),
    *(StreamForm("audio", codec, rate=44_100, channels=2) for codec in ("aac", "mp3", "opus", "pcm_alaw", "ac3")),
    StreamForm("audio", "aac", bytes.fromhex("1210"), 44_100, 2),
]
_FRAMES = [
    b"".join(
        bytes([number, len(body)]) + body
        for body in (b"\0\0\0\5\x65\x88\x84\0\x10", b"\x30\x01\0\x9d\x01\x2a\x40\0\x40\0")
    )
    for number in range(len(_FORMS))
]
_MASTER = (
    b'#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",DEFAULT=YES,URI="a.m3u8"\n'
    b'#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=2x2,AUDIO="a"\nv.m3u8\n'
)

TARGETS = [
    Target("user sig", _user_sig, (UserSigError,), [make_user_sig(APP, KEY, "alice", now_ms=NOW_MS).encode()]),
    Target("join token", _token, (TokenError,), [b"eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiIxNDAwMDAwMDAwIn0.c2ln"]),
    Target("private map", _private_map, (PrivateMapKeyError,), [bytes.fromhex(_MAP), b"\1" + bytes.fromhex(_MAP)[1:]]),
    Target("policy", _policy, (PolicyError,), [preset.document.text.encode() for preset in PRESETS.values()]),
    Target("join request", _join_request, (JoinRequestError,), [_wrapped_join()]),
    Target(
        "old join query", _old_query, (JoinRequestError,), [b"sdk=js&protocol=15&auto_subscribe=1&reconnect=1&sid=PA"]
    ),
    Target(
        "API authorization",
        _authorization,
        (ServiceError,),
        [b"TC3-HMAC-SHA256 Credential=AKID/2023-11-14/trtc/tc3_request, SignedHeaders=host, Signature=" + b"0" * 64],
    ),
    Target("API JSON body", _json_body, (ServiceError,), [_JSON]),
    Target("API form", _form, (ServiceError,), [FORM, FORM.replace(b"=", b".0.0=")]),
    Target(
        "API multipart body",
        _multipart,
        (ServiceError,),
        [part("SdkAppId", "14") + part("RecordParams", '{"RecordMode":2}') + b"--B--\r\n"],
    ),
    Target("RTMP address", _rtmp_address, (AddressError,), [b"rtmps://[::1]:1935/app/instance/stream?key=1"]),
    Target("RTMP publisher", _rtmp_publisher, (RtmpError,), [_rtmp_answers()]),
    Target("RTMP player", _rtmp_player, (RtmpError,), [_rtmp_broadcast()]),
    Target("RTMP server", _rtmp_server, (RtmpError,), [_rtmp_questions()]),
    Target(
        "FLV",
        _flv,
        (RtmpError,),
        [b"".join(bytes([(9, 8, 18).index(kind), len(data)]) + data for kind, data in _FLV_MESSAGES)],
    ),
    Target(
        "H.264", _h264, (), [_AVCC + _AVCC, b"\0\0\0\1" + _AVCC[8:29] + b"\0\0\1" + _AVCC[32:] + b"\0\0\1\x65\x88\x84"]
    ),
    Target("media that come in", _ingest, (), _FRAMES),
    Target("HLS playlist", _playlist, (ValueError,), [_MASTER, _MASTER.replace(b"STREAM-INF", b"KEY")]),
    Target("RTSP server", _rtsp, (CutError,), [b"RTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab$\0\0\2ab" * 2]),
    Target("WHIP offer", _offer, (Problem,), [whip.offer().encode(), SIMULCAST]),
    Target("WHEP offer", _played_offer, (Problem,), [whip.offer().replace("sendonly", "recvonly").encode()]),
    Target("WHIP answer", _answer, (Problem,), [whip.offer().replace("sendonly", "recvonly").encode()]),
    Target(
        "WHIP fragment", sdp.read_fragment, (Problem,), [whip.fragment("a=candidate:1 1 udp 1 ::1 9 typ host").encode()]
    ),
    Target("pushed media", _pushed, (RtmpError,), _pushes()),
    Target("AMF", _amf, (RtmpError,), [amf.encode("connect", 1.0, {"app": ["x", None, True]}, amf.Associative(a=0.0))]),
    Target("API v1 signature", _v1_signature, (ServiceError,), [FORM + b"&Signature=7RAM2xfNMO9EiVTNmPg06MRnCvQ%3D"]),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="per target")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32, help="repeats a run")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    chance = random.Random(options.seed)
    found = sum(not fuzz_parser(target, chance, options.seconds) for target in TARGETS)
    found += not fuzz_server(chance, options.seconds)
    return 1 if found else 0


def fuzz_parser(target: Target, chance: random.Random, seconds: float) -> bool:
    until = time.monotonic() + seconds
    count = 0
    while time.monotonic() < until:
        data = mutate(chance, target.seeds)
        # Of this process alone: how busy the machine is says nothing of a parser.
        began = time.process_time()
        try:
            target.read(data)
        except target.allowed:
            pass
        except Exception:
            print(f"{target.name}: {data.hex()}")
            traceback.print_exc()
            return False
        if (took := time.process_time() - began) > SLOW_S:
            print(f"{target.name}: {took:.1f} s for {data.hex()}")
            return False
        count += 1
    print(f"{target.name}: {count} inputs", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
