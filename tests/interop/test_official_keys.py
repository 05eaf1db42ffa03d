"""UserSigs and PrivateMapKeys of the official Node, Java and Python libraries open rooms; one flipped bit does not.
Go's are among the vectors of tests/unit/accounts."""

import base64
import random
import zlib
from collections.abc import Callable, Iterator

import pytest

from tests.kit.sdks import java_command, make_keys, node_command
from tests.kit.server import Server

pytestmark = [pytest.mark.interop, pytest.mark.e2e]

ALL, LISTEN = 255, 2 | 8 | 32 | 128
FLIPS = 40


@pytest.fixture(scope="module")
def controlled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("keys") / "data") as started:
        started.admin("applications", "set", str(started.sdk_app_id), "--permission-control", "on")
        yield started


def by_node(server: Server) -> list[str]:
    return make_keys(node_command("keys.mjs"), wanted(server))


def by_java(server: Server) -> list[str]:
    return make_keys(java_command("Keys"), wanted(server))


def by_python(server: Server) -> list[str]:
    return [
        server.user_sig("alice"),
        *(server.private_map_key("alice", room, bits) for room in (77, "hall") for bits in (ALL, LISTEN)),
    ]


def wanted(server: Server) -> list[dict[str, object]]:
    common: dict[str, object] = {
        "sdk_app_id": server.sdk_app_id,
        "secret_key": server.credentials["sdk_secret_key"],
        "user_id": "alice",
        "expire_s": 300,
    }
    keys = [{**common, "room_id": room, "permissions": bits} for room in (77, "hall") for bits in (ALL, LISTEN)]
    return [common, *keys]


def answered(server: Server, room: int | str, user_sig: str, key: str) -> tuple[int, object]:
    answer = server.join("alice", room, userSig=user_sig, privateMapKey=key)
    body = answer.json()
    return answer.status_code, body["user"]["permissions"] if answer.status_code == 200 else body["error"]["code"]


@pytest.mark.parametrize("made", [by_node, by_java, by_python])
def test_keys_of_the_official_libraries_open_their_room(
    controlled: Server, made: Callable[[Server], list[str]]
) -> None:
    user_sig, number_all, number_listen, string_all, string_listen = made(controlled)
    for room, everything, listening in ((77, number_all, number_listen), ("hall", string_all, string_listen)):
        assert answered(controlled, room, user_sig, everything) == (200, ["subscribe", "publish", "data"])
        assert answered(controlled, room, user_sig, listening) == (403, -102010), "the room is not open"
        other = "hall" if room == 77 else 77
        assert answered(controlled, other, user_sig, everything) == (403, -100006)
    assert answered(controlled, 77, user_sig, user_sig) == (403, -100006), "it names no room"


@pytest.mark.parametrize("made", [by_node, by_java, by_python])
def test_a_key_with_one_flipped_bit_is_refused(controlled: Server, made: Callable[[Server], list[str]]) -> None:
    user_sig, number_all, _, string_all, _ = made(controlled)
    chosen = random.Random(7)
    for room, key in ((77, number_all), ("hall", string_all)):
        # of what is signed, not of how it is packed: zlib and JSON leave some bits without meaning
        document = zlib.decompress(base64.b64decode(key.translate(str.maketrans("*-_", "+/="))))
        for place in chosen.sample(range(len(document) * 8), FLIPS):
            flipped = bytearray(document)
            flipped[place // 8] ^= 1 << place % 8
            packed = base64.b64encode(zlib.compress(bytes(flipped))).decode()
            assert answered(controlled, room, user_sig, packed.translate(str.maketrans("+/=", "*-_"))) == (403, -100006)
