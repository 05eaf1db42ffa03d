"""Offers, answers and trickled fragments as WHIP needs them: read, checked, and edited as text. Pure.

A description is read line by line for what this protocol asks of it (RFC 9725, 4.2 and 4.4); what is not looked at goes
to the media node as it came, which understands the rest or refuses it. All of it comes from strangers: sizes and counts
are bounded, and what cannot be understood is a ``Problem``.

Each track gets an id of ours in the offer: clients leave ``a=msid`` out, or give all sections the same one.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rtcloud.whip.problems import malformed, unusable

#: Of a body. An offer of a browser with every codec has 8 KiB.
MAX_BODY = 64 * 1024
MAX_SECTIONS = 16
#: More simulcast layers than these are refused; room clients know three.
MAX_LAYERS = 3
#: Candidates beyond are left out.
MAX_CANDIDATES = 64
#: What rooms can carry, by kind.
CODECS = {"audio": frozenset({"opus"}), "video": frozenset({"h264", "vp8", "vp9", "av1"})}

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
_DIRECTIONS: tuple[Direction, ...] = ("sendrecv", "sendonly", "recvonly", "inactive")
_LINE = re.compile(r"[a-z]=[^\x00-\x08\x0a-\x1f\x7f]*")
_MEDIA = re.compile(r"m=([a-z0-9!#$%&'*+.^_`{|}~-]{1,32}) ([0-9]{1,5})(?:/[0-9]+)? [A-Za-z0-9/]+ .+")
_MID = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,16}")
_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")
_PWD = re.compile(r"[A-Za-z0-9+/]{22,256}")
_RID = re.compile(r"[A-Za-z0-9_-]{1,16}")
#: Names of layers that tell their size, from large to small.
_ORDERS = (("f", "h", "q"), ("h", "m", "l"), ("high", "mid", "low"), ("high", "medium", "low"), ("hi", "mid", "lo"))


@dataclass(frozen=True, slots=True)
class Credentials:
    """Of one side's ICE."""

    ufrag: str
    pwd: str


@dataclass(frozen=True, slots=True)
class Section:
    """``layers`` are the names of simulcast layers, from large to small; empty when there is one."""

    mid: str
    kind: str  # audio, video, application, …
    direction: Direction
    rejected: bool
    codecs: frozenset[str] = frozenset()
    layers: tuple[str, ...] = ()

    @property
    def sends(self) -> bool:
        return self.is_media and self.direction in ("sendrecv", "sendonly")

    @property
    def receives(self) -> bool:
        return self.is_media and self.direction in ("sendrecv", "recvonly")

    @property
    def is_media(self) -> bool:
        return self.kind in CODECS and not self.rejected

    @property
    def cid(self) -> str:
        """The track's id in the offer that the media node sees."""
        return f"whip-{self.mid}"


@dataclass(frozen=True, slots=True)
class Offer:
    """``text`` is what the media node is given."""

    text: str
    sections: tuple[Section, ...]
    credentials: Credentials

    @property
    def sent(self) -> list[Section]:
        return [section for section in self.sections if section.sends]


@dataclass(frozen=True, slots=True)
class Fragment:
    """application/trickle-ice-sdpfrag (RFC 8840). ``candidates`` as in ``a=``."""

    credentials: Credentials | None
    candidates: tuple[str, ...]


# offers -----------------------------------------------------------------------------------------------------------


def read_published(body: bytes) -> Offer:
    """The offer of a publisher: at most one sound and one picture, in codecs that rooms carry."""
    offer = _read_offer(body)
    if any(section.is_media and section.direction == "recvonly" for section in offer.sections):
        raise unusable("the offer wants to receive: use sendonly")
    if not offer.sent:
        raise unusable("the offer sends nothing: there is no sendonly section of sound or pictures")
    _check_kinds(offer.sent, most=1)
    return offer


def read_played(body: bytes) -> Offer:
    """The offer of a viewer: sections to receive in, several of a kind for several publishers."""
    offer = _read_offer(body)
    wanted = [section for section in offer.sections if section.is_media]
    if any(not section.receives for section in wanted):
        raise unusable("the offer has a section that does not receive: use recvonly")
    if not wanted:
        raise unusable("the offer receives nothing: there is no recvonly section of sound or pictures")
    _check_kinds(wanted, most=MAX_SECTIONS)
    text = re.sub(r"^a=sendrecv(?=\r$)", "a=recvonly", offer.text, flags=re.MULTILINE)
    return Offer(text, offer.sections, offer.credentials)


def with_credentials(offer: Offer, credentials: Credentials) -> Offer:
    """The same offer for an ICE restart, which a later version of the description tells."""
    text = re.sub(r"^a=ice-ufrag:.*\r$", f"a=ice-ufrag:{credentials.ufrag}\r", offer.text, flags=re.MULTILINE)
    text = re.sub(r"^a=ice-pwd:.*\r$", f"a=ice-pwd:{credentials.pwd}\r", text, flags=re.MULTILINE)
    text = re.sub(r"(?m)^(o=\S+ \S+ )([0-9]{1,18})(?= )", lambda found: f"{found[1]}{int(found[2]) + 1}", text, count=1)
    return Offer(re.sub(r"^a=candidate:.*\r\n", "", text, flags=re.MULTILINE), offer.sections, credentials)


def _read_offer(body: bytes) -> Offer:
    lines = _lines(body, "the offer")
    if lines[0] != "v=0":
        raise malformed("the offer does not begin with v=0")
    session, *blocks = _blocks(lines)
    if not blocks:
        raise malformed("the offer has no media sections")
    if len(blocks) > MAX_SECTIONS:
        raise unusable(f"the offer has more than {MAX_SECTIONS} sections")
    sections = tuple(_section(block, session) for block in blocks)
    mids = [section.mid for section in sections]
    if len(set(mids)) < len(mids):
        raise malformed("two sections of the offer have the same mid")
    accepted = [(section, block) for section, block in zip(sections, blocks, strict=True) if not section.rejected]
    if not accepted:
        raise unusable("all sections of the offer are rejected ones")
    _check_bundle(session, [section.mid for section, _ in accepted])
    for section, block in accepted:
        _check_transport(section, block, session)
    found = [_credentials([*session, *block]) for _, block in accepted]
    credentials = next((each for each in found if each is not None), None)
    if credentials is None:
        raise malformed("the offer has no ice-ufrag and ice-pwd")
    edited = [session]
    for section, block in zip(sections, blocks, strict=True):
        kept = [line for line in block if not line.startswith("a=msid:")]
        edited.append([*kept, f"a=msid:whip {section.cid}"] if section.sends else kept)
    return Offer(_join(edited), sections, credentials)


def _check_bundle(session: Sequence[str], mids: Sequence[str]) -> None:
    groups = [line.split(" ")[1:] for line in session if line.startswith("a=group:BUNDLE")]
    if len(mids) > 1 and (len(groups) != 1 or not set(mids) <= set(groups[0])):
        raise unusable("the sections of the offer are not all in one BUNDLE group")


def _check_transport(section: Section, block: Sequence[str], session: Sequence[str]) -> None:
    everything = [*session, *block]
    if not any(line.startswith("a=fingerprint:") for line in everything):
        raise malformed("the offer has no fingerprint")
    if section.is_media and "a=rtcp-mux" not in block and "a=rtcp-mux-only" not in block:
        raise unusable("a section of the offer has RTCP of its own: use rtcp-mux")


def _check_kinds(sections: Iterable[Section], most: int) -> None:
    counts = dict.fromkeys(CODECS, 0)
    for section in sections:
        counts[section.kind] += 1
        if counts[section.kind] > most:
            raise unusable(f"the offer has more than one {section.kind} track")
        if not section.codecs & CODECS[section.kind]:
            named = ", ".join(sorted(CODECS[section.kind]))
            raise unusable(f"no {section.kind} codec of the offer can be used: rooms carry {named}")
        if len(section.layers) > MAX_LAYERS:
            raise unusable(f"the offer has more than {MAX_LAYERS} simulcast layers")


def _section(block: Sequence[str], session: Sequence[str]) -> Section:
    media = _MEDIA.fullmatch(block[0])
    if media is None or int(media[2]) > 65535:
        raise malformed("a media line of the offer cannot be read")
    mids = [line.removeprefix("a=mid:") for line in block if line.startswith("a=mid:")]
    if len(mids) != 1 or _MID.fullmatch(mids[0]) is None:
        raise malformed("a section of the offer has no usable mid")
    named = [each for line in [*block, *session] for each in _DIRECTIONS if line == f"a={each}"]
    codecs = {
        name.split("/")[0].lower()
        for line in block
        if line.startswith("a=rtpmap:") and (name := line.partition(" ")[2])
    }
    return Section(
        mid=mids[0],
        kind=media[1],
        direction=named[0] if named else "sendrecv",
        rejected=int(media[2]) == 0 and "a=bundle-only" not in block,
        codecs=frozenset(codecs),
        layers=_layers(block),
    )


def _layers(block: Sequence[str]) -> tuple[str, ...]:
    """The first of each alternative of ``a=simulcast:send``, without the pauses that ``~`` tells."""
    found = next((line for line in block if line.startswith("a=simulcast:")), "")
    words = found.removeprefix("a=simulcast:").split(" ")
    if "send" not in words[:-1]:
        return ()
    listed = words[words.index("send") + 1].split(";")
    names = tuple(name.split(",")[0].removeprefix("~") for name in listed)
    if len(set(names)) < len(names) or any(_RID.fullmatch(name) is None for name in names):
        raise malformed("the simulcast layers of the offer cannot be read")
    known = next((order for order in _ORDERS if set(names) <= set(order)), None)
    return names if known is None else tuple(sorted(names, key=known.index))


# answers ----------------------------------------------------------------------------------------------------------


def finish_answer(text: str, offer: Offer, *, direction: Literal["recvonly", "sendonly"]) -> str:
    """The media node's answer as the client shall see it. Raises when a section of the offer came to nothing: there are
    no partial successes (RFC 9725, 4.4.3). Data channels alone are refused, since rooms of WHIP have none."""
    session, *blocks = _blocks(_split(text))
    by_mid = {section.mid: section for section in offer.sections}
    refused = set()
    for block in blocks:
        mid = next((line.removeprefix("a=mid:") for line in block if line.startswith("a=mid:")), "")
        section = by_mid.get(mid)
        if section is None or not section.is_media:
            block[0] = re.sub(r"^(m=\S+) \d+", r"\1 0", block[0])
            refused.add(mid)
            continue
        wanted = section.sends if direction == "recvonly" else section.receives
        if wanted and (block[0].split(" ")[1:2] == ["0"] or f"a={direction}" not in block):
            raise unusable(f"no {section.kind} codec of the offer can be used")
        if direction == "recvonly":  # nothing is sent in it that could have a name
            block[:] = [line for line in block if not line.startswith("a=msid:")]
        if any(line.startswith("a=candidate:") for line in block) and "a=end-of-candidates" not in block:
            block.append("a=end-of-candidates")
        if "a=rtcp-mux" in block and "a=rtcp-mux-only" not in block:
            block.insert(block.index("a=rtcp-mux") + 1, "a=rtcp-mux-only")
    grouped = [
        " ".join(word for word in line.split(" ") if word not in refused) if line.startswith("a=group:BUNDLE") else line
        for line in session
    ]
    return _join([grouped, *blocks])


def fragment_of(answer: str) -> str:
    """The ICE part of an answer, for the response to an ICE restart."""
    session, *blocks = _blocks(_split(answer))
    tagged = next((block for block in blocks if block[0].split(" ")[1:2] != ["0"]), blocks[0] if blocks else [])
    parts = ("a=mid:", "a=ice-", "a=candidate:", "a=end-of-candidates")
    kept = [line for line in session if line.startswith(("a=ice-", "a=group:BUNDLE"))]
    return _join([kept, tagged[:1], *([line for line in tagged if line.startswith(part)] for part in parts)])


# fragments --------------------------------------------------------------------------------------------------------


def read_fragment(body: bytes) -> Fragment:
    lines = _lines(body, "the fragment")
    if any(not line.startswith(("a=", "m=")) for line in lines):
        raise malformed("the fragment has lines that are neither attributes nor media lines")
    if not any(line.startswith(("a=ice-", "a=candidate:", "a=end-of-candidates")) for line in lines):
        raise malformed("the fragment says nothing of ICE")
    session, *blocks = _blocks(lines)
    found = {each for block in (blocks or [[]]) if (each := _credentials([*session, *block])) is not None}
    if len(found) > 1:
        raise unusable("the sections of the fragment have ICE credentials of their own")
    candidates = [line.removeprefix("a=") for line in lines if line.startswith("a=candidate:")]
    return Fragment(next(iter(found), None), tuple(candidates[:MAX_CANDIDATES]))


def is_usable(candidate: str) -> bool:
    """Whether the media node could talk to it: over UDP, at an address and not a name."""
    words = candidate.split(" ")
    return len(words) >= 8 and words[2].lower() == "udp" and not words[4].endswith(".local")


# text -------------------------------------------------------------------------------------------------------------


def _lines(body: bytes, what: str) -> list[str]:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise malformed(f"{what} is not text") from None
    lines = _split(text)
    if not lines or any(_LINE.fullmatch(line) is None for line in lines):
        raise malformed(f"{what} is not made of SDP's lines")
    return lines


def _split(text: str) -> list[str]:
    return [line for line in (each.removesuffix("\r") for each in text.split("\n")) if line]


def _blocks(lines: Iterable[str]) -> list[list[str]]:
    """What stands before the first media line, and each section."""
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("m="):
            blocks.append([])
        blocks[-1].append(line)
    return blocks


def _join(blocks: Iterable[Sequence[str]]) -> str:
    return "".join(f"{line}\r\n" for block in blocks for line in block)


def _credentials(lines: Sequence[str]) -> Credentials | None:
    """The last that is said counts: a section's own before the session's."""
    ufrag = next((line.removeprefix("a=ice-ufrag:") for line in reversed(lines) if line.startswith("a=ice-ufrag:")), "")
    pwd = next((line.removeprefix("a=ice-pwd:") for line in reversed(lines) if line.startswith("a=ice-pwd:")), "")
    if not ufrag and not pwd:
        return None
    if _UFRAG.fullmatch(ufrag) is None or _PWD.fullmatch(pwd) is None:
        raise malformed("ice-ufrag or ice-pwd is missing or not of its form")
    return Credentials(ufrag, pwd)
