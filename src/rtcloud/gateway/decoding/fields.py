"""Named texts from a query string, a form body or a multipart body. Pure.

Each name comes once, everything is UTF-8, and there are at most ``MAX_FIELDS`` of them.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from rtcloud.errors import ServiceError

MAX_FIELDS = 4096
MAX_PART_HEADERS = 8
MAX_PART_HEADER = 1024
MAX_CONTENT_TYPE = 1024
PIECE = 4096

_silent = logging.getLogger(f"{__name__}.silent")  # what is wrong with a body is told to its sender only
_silent.disabled = True


@dataclass(frozen=True, slots=True)
class Field:
    """``is_json``: its part says that it is JSON, as the Python SDK sends lists and objects in multipart."""

    name: str
    text: str
    is_json: bool = False


def parse_form(data: bytes) -> dict[str, Field]:
    """Of ``application/x-www-form-urlencoded`` content, whether query or body."""
    if data.count(b"&") >= MAX_FIELDS:
        raise _too_many()
    fields: dict[str, Field] = {}
    for pair in data.split(b"&"):
        if not pair:
            continue
        encoded, _, value = pair.partition(b"=")
        _add(fields, _unquoted(encoded), _unquoted(value), False)
    return fields


def parse_multipart(data: bytes, content_type: str) -> dict[str, Field]:
    """The bytes of a file's part are its text. Broken framing is ``InvalidRequest``."""
    if len(content_type) > MAX_CONTENT_TYPE:  # the library reads it step by step, each step from its beginning
        raise _broken(f"its Content-Type has more than {MAX_CONTENT_TYPE} bytes")
    _, options = parse_options_header(content_type.encode("latin-1", "replace"))
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        raise _broken("its Content-Type names no boundary")
    if not data:
        return {}  # the SDKs send nothing at all for no parameters
    fields: dict[str, Field] = {}
    for part in _Parts(data, boundary):
        disposition, given = parse_options_header(part.headers.get(b"content-disposition", b""))
        if disposition != b"form-data" or b"name" not in given:
            raise _broken("a part has no name")
        kind = parse_options_header(part.headers.get(b"content-type", b""))[0]
        _add(fields, given[b"name"], bytes(part.content), kind == b"application/json")
    return fields


def _unquoted(encoded: bytes) -> bytes:
    """Piece by piece, for the library's function needs seventy times the memory of what it is given."""
    if b"+" in encoded:
        encoded = encoded.replace(b"+", b" ")
    if b"%" not in encoded:
        return encoded
    plain, place = bytearray(), 0
    while place < len(encoded):
        end = place + PIECE
        if end < len(encoded) and (cut := encoded.rfind(b"%", end - 2, end)) > 0:
            end = cut  # it may begin an escape
        plain += unquote_to_bytes(encoded[place:end])
        place = end
    return bytes(plain)


def _add(fields: dict[str, Field], raw_name: bytes, raw_text: bytes, is_json: bool) -> None:
    try:
        name = raw_name.decode()
    except UnicodeDecodeError:
        raise ServiceError("InvalidParameter", "a parameter's name is not UTF-8") from None
    if not name:
        raise ServiceError("InvalidParameter", "a parameter has no name")
    if name in fields:
        raise ServiceError("InvalidParameter", f"{name[:64]} is given more than once")
    try:
        fields[name] = Field(name, raw_text.decode(), is_json)
    except UnicodeDecodeError:
        raise ServiceError("InvalidParameter", f"{name[:64]} is not UTF-8") from None


class _Part:
    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.content = bytearray()


class _Parts:
    """The parts of a whole body, by the push parser of python-multipart."""

    def __init__(self, data: bytes, boundary: bytes) -> None:
        self._found: list[_Part] = []
        self._name, self._value = bytearray(), bytearray()
        self._ended = False
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_part_data": lambda data, start, end: self._found[-1].content.extend(data[start:end]),
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_end": self._end,
        }
        try:
            parser = MultipartParser(
                boundary, callbacks, max_header_count=MAX_PART_HEADERS, max_header_size=MAX_PART_HEADER
            )
            parser.logger = _silent
            parser.write(data)
            parser.finalize()
        except FormParserError:
            raise _broken("its parts are not what the boundary says") from None
        if not self._ended:
            raise _broken("it does not end with the boundary")

    def __iter__(self) -> Iterator[_Part]:
        return iter(self._found)

    def _begin(self) -> None:
        if len(self._found) >= MAX_FIELDS:
            raise _too_many()
        self._found.append(_Part())

    def _header(self) -> None:
        self._found[-1].headers[bytes(self._name).lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _end(self) -> None:
        self._ended = True


def _too_many() -> ServiceError:
    return ServiceError("InvalidParameter", f"there are more than {MAX_FIELDS} parameters")


def _broken(reason: str) -> ServiceError:
    return ServiceError("InvalidRequest", f"the multipart body cannot be read: {reason}")
