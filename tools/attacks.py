"""Random and damaged input for a running server, through its real sockets.

The media engine's ways in are among them: UDP, and TCP with its framing. Whatever comes, the server must stay alive,
answer, and not grow. ``tools/fuzz.py`` runs them after the parsers that can be fuzzed by themselves.
"""

import contextlib
import random
import socket
import tempfile
import time
from pathlib import Path

import httpx
from google.protobuf.message import DecodeError
from livekit.protocol import rtc
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.kit import whip
from tests.kit.server import Server, resident_mib

GROWTH_MIB = 64


def part(name: str, value: str) -> bytes:
    return f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


FORM = b"SdkAppId=14&RoomId=%E4%BC%9A+1&RecordParams.RecordMode=2&MixLayoutParams.MixLayoutList.0.Top=1"
SIMULCAST = whip.offer(whip.section("0", "vp8", "a=rid:h send", "a=rid:l send", "a=simulcast:send h;~l")).encode()


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


def fuzz_server(chance: random.Random, seconds: float) -> bool:
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data") as server:
        attacks = {"UDP": _udp, "TCP": _tcp, "HTTP": _http, "signalling": _signalling, "WHIP": _whip}
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


def _tcp(server: Server, chance: random.Random, until: float) -> int:
    """Connections to the media port: damaged datagrams, framed well, and streams that are damaged as a whole."""
    count = 0
    framed = [len(datagram).to_bytes(2, "big") + datagram for datagram in _DATAGRAMS]
    while time.monotonic() < until:
        # Being cut off is the answer that is due.
        with (
            contextlib.suppress(ConnectionError, TimeoutError),
            socket.create_connection(("127.0.0.1", server.media_port), timeout=5) as sender,
        ):
            for _ in range(chance.randint(1, 20)):
                datagram = mutate(chance, _DATAGRAMS)[:60_000]
                whole = chance.random() < 0.7
                sender.sendall(len(datagram).to_bytes(2, "big") + datagram if whole else mutate(chance, framed))
                count += 1
    return count


def _http(server: Server, chance: random.Random, until: float) -> int:
    seeds = [
        b'{"sdkAppId":1400000000,"userId":"a","userSig":"x","roomId":1}',
        b'{"SdkAppId":1400000000,"TaskId":"x"}',
        FORM + b"&Action=CreateCloudRecording&Version=2019-07-22&Timestamp=1&Nonce=1&SecretId=AKIDx&Signature=x",
        part("SdkAppId", "14") + b"--B--\r\n",
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


def _whip(server: Server, chance: random.Random, until: float) -> int:
    """Damaged offers of publishers and viewers, and damaged fragments for the sessions that came of them."""
    published, count = whip.offer(), 0
    offers = [published.encode(), published.replace("sendonly", "recvonly").encode(), SIMULCAST]
    fragments = [whip.fragment(ufrag="ysXw").encode(), whip.fragment("a=candidate:1 1 udp 1 ::1 9 typ host").encode()]
    token = {"Authorization": f"Bearer {server.user_sig('fuzz')}"}
    with httpx.Client(base_url=server.url, timeout=10) as client:
        while time.monotonic() < until:
            url = whip.address(server, chance.choice(("pub", "sub")), "fuzz", "fuzz")
            kind = {"Content-Type": "application/sdp"}
            opened = client.post(url, content=mutate(chance, offers), headers={**kind, **token})
            statuses = [opened.status_code]
            if opened.status_code == 201:
                at = opened.headers["Location"]
                kind = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*"}
                statuses.append(client.patch(at, content=mutate(chance, fragments), headers=kind).status_code)
                statuses.append(client.delete(at).status_code)
            if any(status >= 500 for status in statuses):
                print(f"WHIP: statuses {statuses}")
                return count
            count += len(statuses)
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
