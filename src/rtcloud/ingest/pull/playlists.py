"""HLS playlists on their way to the demuxer: every address made absolute, and of a master playlist the one variant
that rooms can use, so that no others are fetched. Pure.

The best variant is the largest picture within ``MOST_WIDTH`` x ``MOST_HEIGHT``, then the highest bit rate; if all are
larger, the smallest. Its sound, when that has playlists of its own, comes with it: the default one of its group.
"""

import re
from collections.abc import Iterator
from urllib.parse import urljoin

MARK = b"#EXTM3U"
END = "#EXT-X-ENDLIST"
MOST_BYTES = 4 << 20
#: A day of one-second segments; and, with every address made absolute, so many characters.
MOST_LINES = 300_000
MOST_PREPARED = 16 << 20
MOST_WIDTH, MOST_HEIGHT = 1920, 1080

_ATTRIBUTE = re.compile(r'(?:^|,)[ \t]*([A-Z0-9-]{1,64})=("[^"]*"|[^,]*)')
_URI = re.compile(r'URI="([^"]*)"')


def is_playlist(head: bytes) -> bool:
    return head.removeprefix(b"\xef\xbb\xbf").startswith(MARK)


def prepare(text: str, base: str) -> str:
    """``base`` is where the playlist was found. Raises ValueError when it is out of all proportion."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > MOST_LINES:
        raise ValueError("too many lines")
    if any(line.startswith("#EXT-X-STREAM-INF") for line in lines):
        lines = list(_chosen(lines))
    out, left = [], MOST_PREPARED
    for line in lines:
        out.append(_absolute(line, base))
        if (left := left - len(out[-1])) < 0:
            raise ValueError("too long addresses")
    return "\n".join(out) + "\n"


def _absolute(line: str, base: str) -> str:
    if not line.startswith("#"):
        return urljoin(base, line)
    return _URI.sub(lambda found: f'URI="{urljoin(base, found[1])}"', line, count=1)


def _chosen(lines: list[str]) -> Iterator[str]:
    variants = [
        (_attributes(line), line, address)
        for line, address in zip(lines, lines[1:], strict=False)
        if line.startswith("#EXT-X-STREAM-INF") and not address.startswith("#")
    ]
    yield "#EXTM3U"
    if not variants:
        return
    attributes, line, address = max(variants, key=lambda variant: _worth(variant[0]))
    group = attributes.get("AUDIO", "")
    sounds = [
        (found, other)
        for other in lines
        if other.startswith("#EXT-X-MEDIA:")
        and (found := _attributes(other)).get("TYPE") == "AUDIO"
        and found.get("GROUP-ID") == group
    ]
    if sounds:
        yield max(sounds, key=lambda sound: sound[0].get("DEFAULT") == "YES")[1]
    yield line
    yield address


def _attributes(line: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in _ATTRIBUTE.findall(line.partition(":")[2])}


def _worth(attributes: dict[str, str]) -> tuple[bool, int, int]:
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", attributes.get("RESOLUTION", ""))
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    rate = attributes.get("BANDWIDTH", "")
    fits = width <= MOST_WIDTH and height <= MOST_HEIGHT
    area = width * height
    return fits, area if fits else -area, int(rate) if re.fullmatch(r"\d{1,12}", rate) else 0
