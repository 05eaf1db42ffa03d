"""Addresses of WHIP and WHEP, and descriptions as their clients write them."""

from tests.kit.server import Server

UFRAG, PWD = "EsAw", "P2uYro0UCOQ4zxjKXaWCBui1"
_FINGERPRINT = ":".join(["DA"] * 32)
_CODECS = {
    "opus": ("audio", ["111 opus/48000/2"], ["111 minptime=10;useinbandfec=1"]),
    "pcmu": ("audio", ["0 PCMU/8000"], []),
    "vp8": ("video", ["96 VP8/90000"], []),
    "h264": (
        "video",
        ["102 H264/90000"],
        ["102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"],
    ),
    "h265": ("video", ["104 H265/90000"], []),
}


def address(server: Server, way: str, stream: str, user_id: str, **query: str) -> str:
    more = "".join(f"&{name}={value}" for name, value in query.items())
    return f"{server.url}/v2/{way}/{server.sdk_app_id}/{stream}?SessionID={user_id}{more}"


def section(mid: str, codec: str, *lines: str, direction: str = "sendonly", setup: str = "actpass") -> list[str]:
    """``lines`` are added; one that begins with ``-`` takes away those that begin with the rest of it."""
    kind, maps, formats = _CODECS[codec]
    written = [
        f"m={kind} 9 UDP/TLS/RTP/SAVPF {maps[0].split(' ')[0]}",
        "c=IN IP4 0.0.0.0",
        f"a=ice-ufrag:{UFRAG}",
        f"a=ice-pwd:{PWD}",
        "a=ice-options:trickle",
        f"a=fingerprint:sha-256 {_FINGERPRINT}",
        f"a=setup:{setup}",
        f"a=mid:{mid}",
        f"a={direction}",
        "a=msid:- d46fb922-d52a-4e9c-aa87-444eadc1521b",
        "a=rtcp-mux",
        "a=rtcp-mux-only",
        "a=rtcp-rsize",
        *(f"a=rtpmap:{each}" for each in maps),
        *(f"a=fmtp:{each}" for each in formats),
    ]
    for line in lines:
        if line.startswith("-"):
            written = [each for each in written if not each.startswith(line[1:])]
        else:
            written.append(line)
    return written


DATA = [
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    "c=IN IP4 0.0.0.0",
    f"a=ice-ufrag:{UFRAG}",
    f"a=ice-pwd:{PWD}",
    f"a=fingerprint:sha-256 {_FINGERPRINT}",
    "a=setup:actpass",
    "a=mid:data",
    "a=sctp-port:5000",
]


def offer(*sections: list[str], group: str | None = None) -> str:
    """Of sound and a picture to send, without ``sections``; in one BUNDLE group, without another ``group``."""
    blocks = sections or (section("0", "opus"), section("1", "h264"))
    mids = [line.removeprefix("a=mid:") for block in blocks for line in block if line.startswith("a=mid:")]
    bundle = f"a=group:BUNDLE {' '.join(mids)}" if group is None else group
    head = ["v=0", "o=- 5228595038118931041 2 IN IP4 127.0.0.1", "s=-", "t=0 0", *([bundle] if bundle else [])]
    return "".join(f"{line}\r\n" for line in [*head, *(line for block in blocks for line in block)])


def fragment(*lines: str, ufrag: str = UFRAG, pwd: str = PWD, mid: str = "0") -> str:
    """Of a trickling client: its credentials, and ``lines`` in the first section."""
    head = ["a=group:BUNDLE 0 1", "m=audio 9 UDP/TLS/RTP/SAVPF 111", f"a=mid:{mid}"]
    return "".join(f"{line}\r\n" for line in [*head, f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{pwd}", *lines])
