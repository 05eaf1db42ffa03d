"""``make fuzz``: random and damaged input for everything that reads bytes from the network.

First the parsers of the control plane, each by itself: whatever comes, the answer is a value or the parser's own typed
error, soon. Then a running server through its real sockets (the media engine's parsers of STUN, DTLS and RTP among
them): it must stay alive, answer, and not grow. A finding is printed as hex and ends with status 1.
"""

import argparse
import base64
import random
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from google.protobuf.message import DecodeError
from livekit.protocol import rtc
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from rtcloud.accounts import privatemapkey  # noqa: E402
from rtcloud.accounts.policies import PRESETS, PolicyError, parse_document  # noqa: E402
from rtcloud.accounts.privatemapkey import PrivateMapKeyError  # noqa: E402
from rtcloud.accounts.tokens import TokenError, verify_join_token  # noqa: E402
from rtcloud.accounts.usersig import UserSigError, make_user_sig, verify_user_sig  # noqa: E402
from rtcloud.apimodel.model import load_model  # noqa: E402
from rtcloud.apimodel.validation import validate  # noqa: E402
from rtcloud.errors import ServiceError  # noqa: E402
from rtcloud.gateway.decoding.fields import Field, parse_form, parse_multipart  # noqa: E402
from rtcloud.gateway.decoding.unflattening import decode_json, unflatten  # noqa: E402
from rtcloud.gateway.signing import v1  # noqa: E402
from rtcloud.gateway.signing.tc3 import parse_authorization  # noqa: E402
from rtcloud.rtmp import amf, chunks  # noqa: E402
from rtcloud.rtmp.address import AddressError, parse_address  # noqa: E402
from rtcloud.rtmp.errors import RtmpError  # noqa: E402
from rtcloud.rtmp.publishing import Publisher  # noqa: E402
from rtcloud.signal.joining import JoinRequestError, parse_v0, parse_v1  # noqa: E402
from tests.kit.server import Server, resident_mib  # noqa: E402

NOW_MS = 1_700_000_000_000
SLOW_S = 0.5
GROWTH_MIB = 64
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


def _rtmp_publisher(data: bytes) -> object:
    """The server's side of a connection, in two pieces."""
    publisher = Publisher(parse_address("rtmp://a/live/x"), noise=bytes(1528))
    publisher.begin()
    half = len(data) // 2
    return publisher.receive(b"\3" + bytes(3072) + data[:half]), publisher.receive(data[half:])


def _rtmp_answers() -> bytes:
    writer = chunks.ChunkWriter()
    said = [
        (chunks.WINDOW_SIZE, bytes.fromhex("00000400")),
        (chunks.SET_CHUNK_SIZE, bytes.fromhex("00001000")),
        (chunks.COMMAND, amf.encode("_result", 1.0, {"fmsVer": "x"}, {"code": "NetConnection.Connect.Success"})),
        (chunks.COMMAND, amf.encode("_result", 4.0, None, 1.0)),
        (chunks.USER_CONTROL, bytes.fromhex("000600001234")),
        (chunks.COMMAND, amf.encode("onStatus", 0.0, None, {"level": "status", "code": "NetStream.Publish.Start"})),
    ]
    return b"".join(writer.write(chunks.Message(kind, data), 3) for kind, data in said)


def _part(name: str, value: str) -> bytes:
    return f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


_FORM = b"SdkAppId=14&RoomId=%E4%BC%9A+1&RecordParams.RecordMode=2&MixLayoutParams.MixLayoutList.0.Top=1"
_JSON = b'{"SdkAppId":14,"RoomId":"1","RecordParams":{"RecordMode":2},"MixLayoutParams":{"MixLayoutList":[{"Top":1}]}}'


_MAP = "0000077869616f6a756e53724e000000271066413f00000000ff00000000"


def _wrapped_join() -> bytes:
    request = rtc.JoinRequest(publisher_offer=rtc.SessionDescription(type="offer", sdp="v=0\r\n"))
    return rtc.WrappedJoinRequest(join_request=request.SerializeToString()).SerializeToString()


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
    Target("API form", _form, (ServiceError,), [_FORM, _FORM.replace(b"=", b".0.0=")]),
    Target(
        "API multipart body",
        _multipart,
        (ServiceError,),
        [_part("SdkAppId", "14") + _part("RecordParams", '{"RecordMode":2}') + b"--B--\r\n"],
    ),
    Target("RTMP address", _rtmp_address, (AddressError,), [b"rtmps://[::1]:1935/app/instance/stream?key=1"]),
    Target("RTMP publisher", _rtmp_publisher, (RtmpError,), [_rtmp_answers()]),
    Target("API v1 signature", _v1_signature, (ServiceError,), [_FORM + b"&Signature=7RAM2xfNMO9EiVTNmPg06MRnCvQ%3D"]),
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


def mutate(chance: random.Random, seeds: list[bytes]) -> bytes:
    """Noise, or a seed that was cut, doubled, flipped or filled."""
    if not seeds or chance.random() < 0.1:
        return chance.randbytes(chance.choice((0, 1, 7, 64, 500, 5000)))
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                del data[at : at + chance.randint(1, 20)]
            case 1:
                data[at:at] = chance.randbytes(chance.randint(1, 20))
            case 2 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 3:
                data[at:at] = bytes([chance.randrange(256)]) * chance.choice((1, 100, 3000))
            case 4:
                data[at:at] = data[:at][-chance.randint(1, 200) :]
    return bytes(data)


def fuzz_parser(target: Target, chance: random.Random, seconds: float) -> bool:
    until = time.monotonic() + seconds
    count = 0
    while time.monotonic() < until:
        data = mutate(chance, target.seeds)
        began = time.perf_counter()
        try:
            target.read(data)
        except target.allowed:
            pass
        except Exception:
            print(f"{target.name}: {data.hex()}")
            traceback.print_exc()
            return False
        if (took := time.perf_counter() - began) > SLOW_S:
            print(f"{target.name}: {took:.1f} s for {data.hex()}")
            return False
        count += 1
    print(f"{target.name}: {count} inputs", flush=True)
    return True


def fuzz_server(chance: random.Random, seconds: float) -> bool:
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data") as server:
        attacks = {"UDP": _udp, "HTTP": _http, "signalling": _signalling}
        for name, attack in attacks.items():
            before = resident_mib(server.pid)
            count = attack(server, chance, time.monotonic() + seconds)
            grown = resident_mib(server.pid) - before
            print(f"server, {name}: {count} inputs, memory {grown:+.0f} MiB", flush=True)
            if not server.alive or httpx.get(f"{server.url}/healthz", timeout=5).status_code != 200:
                print(f"the server does not answer any more\n{server.tail()}")
                return False
            if grown > GROWTH_MIB:
                print("the server grew")
                return False
    return True


#: A STUN binding request, a DTLS ClientHello's head, an RTP packet and an RTCP receiver report.
_DATAGRAMS = [
    bytes.fromhex("000100002112a442") + bytes(range(12)) + bytes.fromhex("000600096162636465666768693a0000"),
    bytes.fromhex("16fefd0000000000000000004a010000300000000000000030fefd") + bytes(64),
    bytes.fromhex("806f0001000003e812345678") + bytes(160),
    bytes.fromhex("81c9000712345678000000010000000000000000000000000000000000000000"),
]


def _udp(server: Server, chance: random.Random, until: float) -> int:
    count = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        while time.monotonic() < until:
            sender.sendto(mutate(chance, _DATAGRAMS)[:60_000], ("127.0.0.1", server.media_port))
            count += 1
    return count


def _http(server: Server, chance: random.Random, until: float) -> int:
    seeds = [
        b'{"sdkAppId":1400000000,"userId":"a","userSig":"x","roomId":1}',
        b'{"SdkAppId":1400000000,"TaskId":"x"}',
        _FORM + b"&Action=CreateCloudRecording&Version=2019-07-22&Timestamp=1&Nonce=1&SecretId=AKIDx&Signature=x",
        _part("SdkAppId", "14") + b"--B--\r\n",
    ]
    kinds = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=B", "x/y")
    count = 0
    with httpx.Client(base_url=server.url, timeout=10) as client:
        while time.monotonic() < until:
            path = chance.choice(("/", "/", "/v1/join", "/rtc/validate", "/rtc/v1/validate"))
            headers = {"content-type": chance.choice(kinds), "x-tc-action": "DescribeCloudRecording"}
            content = mutate(chance, seeds)
            if path == "/" and chance.random() < 0.3:
                answer = client.get(f"/?{content[:2000].hex('%')}", headers=headers)
            else:
                answer = client.post(path, content=content, headers=headers)
            if answer.status_code >= 500 or (path == "/" and b'"RequestId"' not in answer.content):
                print(f"{path}: status {answer.status_code}")
                return count
            count += 1
    return count


def _signalling(server: Server, chance: random.Random, until: float) -> int:
    """A joined client that sends damaged messages; it joins again whenever it was thrown out."""
    seeds = [
        rtc.SignalRequest(offer=rtc.SessionDescription(type="offer", sdp="v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n")),
        rtc.SignalRequest(add_track=rtc.AddTrackRequest(cid="c", name="n", width=640, height=360)),
        rtc.SignalRequest(ping_req=rtc.Ping(timestamp=1, rtt=2)),
        rtc.SignalRequest(trickle=rtc.TrickleRequest(candidateInit="{}")),
        rtc.SignalRequest(subscription=rtc.UpdateSubscription(track_sids=["TR_x"], subscribe=True)),
    ]
    raw = [seed.SerializeToString() for seed in seeds]
    count = 0
    while time.monotonic() < until:
        token = server.ticket("fuzz", 1)["token"]
        address = server.url.replace("http", "ws") + f"/rtc?access_token={token}&protocol=15"
        try:
            with connect(address, max_queue=None) as client:
                while time.monotonic() < until:
                    client.send(mutate(chance, raw))
                    count += 1
        except (WebSocketException, DecodeError, OSError):
            continue
    return count


if __name__ == "__main__":
    sys.exit(main())
