"""The demo page's server side: files without escapes, credentials for well-formed users only, honest refusals."""

import asyncio
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from rtcloud.accounts.entities import Credentials
from rtcloud.accounts.usersig import verify_user_sig
from rtcloud.gateway.demo import demo_routes
from rtcloud.gateway.demo_recordings import label_of, list_recordings, prefix_of, signed_headers
from rtcloud.gateway.signing import tc3
from rtcloud.gateway.signing.faults import check_time
from rtcloud.rooms.ids import RoomRef

NOW_MS = 1_700_000_000_000
CREDENTIALS = Credentials(
    account_uin="100000000001",
    secret_id="AKID" + "x" * 32,
    secret_key="k" * 32,
    sdk_app_id=1400000001,
    sdk_secret_key="5" * 64,
    endpoint="http://127.0.0.1:9",
)


class FixedClock:
    def now_ms(self) -> int:
        return NOW_MS

    def monotonic(self) -> float:
        return 0.0


def ask(files: Path, method: str, path: str, **options: object) -> httpx.Response:
    app = Starlette(routes=demo_routes(lambda: CREDENTIALS, files, FixedClock()))

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://demo") as client:
            return await client.request(method, path, **options)  # type: ignore[arg-type]

    return asyncio.run(send())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    task = tmp_path / "files/demo/text/cm9vbQ/task-1"
    task.mkdir(parents=True)
    (task / "1400000001_cm9vbQ...mp4").write_bytes(bytes(range(100)))
    (task / "1400000001_cm9vbQ...m3u8").write_text("#EXTM3U\n")
    (tmp_path / "files/secret").write_text("no")
    (tmp_path / "credentials.json").write_text("no")
    return tmp_path / "files"


def test_a_user_sig_for_a_guest_verifies(files: Path) -> None:
    answer = ask(files, "POST", "/demo/api/user-sig", json={"userId": "guest_1"})
    assert answer.status_code == 200
    made = answer.json()
    verified = verify_user_sig(
        made["userSig"],
        sdk_app_id=made["sdkAppId"],
        secret_keys=(CREDENTIALS.sdk_secret_key,),
        user_id="guest_1",
        now_ms=NOW_MS,
    )
    assert verified.user_id == "guest_1"


@pytest.mark.parametrize("user_id", ["", "a b", "x" * 33, "ä", "../x"])
def test_a_malformed_user_id_is_refused(files: Path, user_id: str) -> None:
    answer = ask(files, "POST", "/demo/api/user-sig", json={"userId": user_id})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "InvalidParameterValue"


@pytest.mark.parametrize(
    "options",
    [
        {"content": b'{"userId":"a"}', "headers": {"content-type": "text/plain"}},
        {"content": b"{", "headers": {"content-type": "application/json"}},
        {"content": b'"' + b"x" * 5000 + b'"', "headers": {"content-type": "application/json"}},
        {"json": {"userId": 7}},
    ],
)
def test_a_bad_body_is_refused(files: Path, options: dict[str, object]) -> None:
    answer = ask(files, "POST", "/demo/api/user-sig", **options)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "InvalidParameter"


@pytest.mark.parametrize(
    "room", [{}, {"roomId": 0}, {"roomId": 4_294_967_295}, {"strRoomId": ""}, {"strRoomId": "x" * 65}]
)
def test_a_recording_needs_a_room(files: Path, room: dict[str, object]) -> None:
    answer = ask(files, "POST", "/demo/api/recordings", json=room)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "InvalidParameterValue"


def test_an_unreachable_api_is_told(files: Path) -> None:
    answer = ask(files, "POST", "/demo/api/recordings", json={"roomId": 7})
    assert answer.status_code == 500
    assert "CreateCloudRecording" in answer.json()["error"]["message"]


def test_recordings_are_listed_with_their_files(files: Path) -> None:
    (listed,) = ask(files, "GET", "/demo/api/recordings").json()["recordings"]
    assert (listed["taskId"], listed["room"], listed["running"], listed["size"]) == ("task-1", "room", False, 100)
    assert ask(files, "GET", listed["mp4"]).content == bytes(range(100))
    hls = ask(files, "GET", listed["hls"])
    assert hls.headers["content-type"].startswith("application/vnd.apple.mpegurl")


def test_a_range_of_a_file_is_served(files: Path) -> None:
    (listed,) = list_recordings(files / "demo")
    answer = ask(files, "GET", str(listed.mp4), headers={"Range": "bytes=10-19"})
    assert answer.status_code == 206
    assert answer.content == bytes(range(10, 20))


@pytest.mark.parametrize(
    "name",
    [
        "..%2Fsecret",
        "%2e%2e/%2e%2e/credentials.json",
        "..%2F..%2Fcredentials.json",
        "%2Fetc%2Fpasswd",
        "text",
        "a%00b",
        "x" * 5000,
    ],
)
def test_no_name_leads_out_of_the_recordings(files: Path, name: str) -> None:
    assert ask(files, "GET", f"/demo/files/{name}").status_code == 404


def test_a_link_out_of_the_recordings_is_not_followed(files: Path) -> None:
    (files / "demo/link").symlink_to(files / "secret")
    assert ask(files, "GET", "/demo/files/link").status_code == 404


@pytest.mark.parametrize("room", ["a", "部屋", "a/b?c", "x" * 64])
def test_a_room_survives_its_prefix(room: str) -> None:
    kind, part = prefix_of(RoomRef(1, False, room))
    assert label_of(kind, part) == room


def test_the_api_request_is_signed_as_the_gateway_wants_it() -> None:
    sent = {name.lower(): value for name, value in signed_headers(CREDENTIALS, "h", "X", b"{}", NOW_MS // 1000).items()}
    tc3.verify(
        tc3.parse_authorization(sent["authorization"]),
        CREDENTIALS.secret_key,
        method="POST",
        query="",
        headers=sent,
        payload_hash=tc3.hash_payload(b"{}"),
        seconds=check_time("X-TC-Timestamp", sent["x-tc-timestamp"], NOW_MS),
    )
