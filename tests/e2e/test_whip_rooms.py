"""Who comes by WHIP or WHEP keeps the rules of rooms: callbacks, rights, limits, one session a user, the older form."""

import contextlib
from collections.abc import Iterator

import httpx
import pytest

from tests.kit.cloud import Cloud
from tests.kit.receiver import Received, Receiver
from tests.kit.server import Server
from tests.kit.waiting import wait_until
from tests.kit.whip import address, offer, section

pytestmark = pytest.mark.e2e

SEND_AUDIO, CREATE_AND_ENTER = 4, 3
ANCHOR, AUDIENCE = 20, 21
NATIVE, WINDOWS = 3, 1
OBS = "Mozilla/5.0 (OBS-Studio/30.2.3; Windows x86_64; en-US)"
SOUND = offer(section("0", "opus"))
PLAYED = offer(section("0", "opus", direction="recvonly"), section("1", "h264", direction="recvonly"))


@pytest.fixture(scope="module")
def hooks() -> Iterator[Receiver]:
    with Receiver() as started:
        yield started


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, hooks: Receiver) -> Iterator[Server]:
    """For all tests, with room for two in a call."""
    with Server(tmp_path_factory.mktemp("small") / "data", "--call-users", "2") as started:
        started.set_callbacks(hooks.url, hooks.key)
        yield started
        assert started.alive, "the server died"


@contextlib.contextmanager
def setting(server: Server, name: str, value: str, before: str) -> Iterator[None]:
    """Of the application, for a while."""
    server.admin("applications", "set", str(server.sdk_app_id), name, value)
    try:
        yield
    finally:
        server.admin("applications", "set", str(server.sdk_app_id), name, before)


def post(server: Server, way: str, stream: str, user_id: str, *, token: str = "", body: str = "") -> httpx.Response:
    bearer = token or server.user_sig(user_id)
    headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {bearer}", "User-Agent": OBS}
    content = body or (offer() if way == "pub" else PLAYED)
    return httpx.post(address(server, way, stream, user_id), content=content, headers=headers, timeout=10)


def opened(server: Server, way: str, stream: str, user_id: str) -> str:
    answer = post(server, way, stream, user_id)
    assert answer.status_code == 201, answer.text
    return server.url + answer.headers["Location"]


def refusal(answer: httpx.Response) -> tuple[int, int]:
    return answer.status_code, answer.json().get("code", 0)


def entered(hooks: Receiver, user_id: str) -> Received:
    return hooks.wait_for(103, lambda got: got.user_id == user_id)


def left(hooks: Receiver, user_id: str) -> Received:
    return hooks.wait_for(104, lambda got: got.user_id == user_id)


def figure(server: Server, name: str) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return next((float(line.split()[1]) for line in lines if line.startswith(f"rtcloud_{name}")), 0.0)


def test_callbacks_tell_of_publishers_and_viewers_as_of_everybody(server: Server, hooks: Receiver) -> None:
    publisher = opened(server, "pub", "studio", "encoder")
    viewer = opened(server, "sub", "studio", "viewer")
    info = entered(hooks, "encoder").info
    assert info["RoomId"] == "studio"
    assert (info["Role"], info["TerminalType"], info["UserType"]) == (ANCHOR, WINDOWS, NATIVE)
    entered(hooks, "viewer")
    assert (figure(server, "whip_sessions"), figure(server, "whep_sessions")) == (1, 1)
    for session, user_id in ((publisher, "encoder"), (viewer, "viewer")):
        assert httpx.delete(session).status_code == 200
        assert left(hooks, user_id).info["Reason"] == 1
    hooks.wait_for(102)
    assert (figure(server, "whip_sessions"), figure(server, "whep_sessions")) == (0, 0)


def test_a_viewer_of_a_live_room_is_audience(server: Server, hooks: Receiver) -> None:
    with setting(server, "--scenes", "live", "rtc,live"):
        opened(server, "sub", "show", "onlooker")
        opened(server, "pub", "show", "host")
    assert entered(hooks, "onlooker").info["Role"] == AUDIENCE
    assert entered(hooks, "host").info["Role"] == ANCHOR


def test_keys_decide_what_is_sent(server: Server) -> None:
    other = server.private_map_key("encoder", "cellar", 255)
    sound = server.private_map_key("encoder", "vault", CREATE_AND_ENTER | SEND_AUDIO)
    enter = server.private_map_key("viewer", "elsewhere", 2)
    with setting(server, "--permission-control", "on", "off"):
        assert refusal(post(server, "pub", "vault", "encoder")) == (403, -100006)
        assert refusal(post(server, "pub", "vault", "encoder", token=other)) == (403, -100006)
        assert post(server, "pub", "vault", "encoder", token=sound).status_code == 403  # no picture to send
        assert post(server, "pub", "vault", "encoder", token=sound, body=SOUND).status_code == 201
        assert refusal(post(server, "sub", "elsewhere", "viewer", token=enter)) == (403, -102010)


def test_a_user_has_one_session_in_a_room_and_may_be_sent_away(server: Server) -> None:
    first = opened(server, "pub", "one", "encoder")
    second = opened(server, "pub", "one", "encoder")
    wait_until(lambda: httpx.get(first).status_code == 404, "the earlier session is over")
    assert httpx.get(second).status_code == 204
    Cloud(server).remove_users("one", "encoder")
    wait_until(lambda: httpx.get(second).status_code == 404, "the removed user's session is over")


def test_a_full_room_takes_nobody(server: Server) -> None:
    for way, user_id in (("pub", "a"), ("sub", "b")):
        opened(server, way, "full", user_id)
    for way in ("pub", "sub"):
        assert refusal(post(server, way, "full", "c")) == (403, -102006)
    assert figure(server, "whip_refused_403") >= 2


@pytest.mark.parametrize(
    ("stream", "user_id", "status"),
    [("a" * 65, "encoder", 400), ("snowman-☃", "encoder", 400), ("r", "with space", 400), ("r", "u" * 65, 400)],
)
def test_names_that_rooms_do_not_have_are_refused(server: Server, stream: str, user_id: str, status: int) -> None:
    assert post(server, "pub", stream, user_id).status_code == status


def test_another_application_is_404_and_a_request_without_a_user_400(server: Server) -> None:
    headers = {"Content-Type": "application/sdp", "Authorization": "Bearer x"}
    path = f"{server.url}/v2/pub"
    assert httpx.post(f"{path}/1?SessionID=u", content=offer(), headers=headers).status_code in (401, 404)
    url = f"{path}/{server.sdk_app_id}/r"
    assert httpx.post(url, content=offer(), headers=headers).status_code == 400


def test_the_older_form_has_its_own_statuses(server: Server) -> None:
    server, headers = server, {"Content-Type": "application/sdp"}

    def older(verb: str, user_id: str, *, sig: str | None = None, body: str = "", more: str = "") -> httpx.Response:
        query = f"sdkappid={server.sdk_app_id}&userid={user_id}&usersig={sig or server.user_sig(user_id)}{more}"
        content = body or (offer() if verb == "push" else PLAYED)
        return httpx.post(f"{server.url}/v1/{verb}/old?{query}", content=content, headers=headers)

    assert httpx.post(f"{server.url}/v1/push/old", content=offer(), headers=headers).status_code == 400
    assert older("push", "a", body="nothing").status_code == 400
    assert older("push", "a", sig="nonsense").status_code == 403
    assert older("push", "a", more="&prefervcodec=h265").status_code == 400
    assert older("play", "b").status_code == 404
    pushed = older("push", "a", more="&prefervcodec=h264")
    assert pushed.status_code == 201
    session = httpx.URL(server.url).join(pushed.headers["Location"])
    assert session.path == "/v1/push/old"
    assert {"sdkappid", "userid", "usersig", "prefervcodec", "relay"} <= set(session.params)
    assert older("push", "b").status_code == 409
    assert older("push", "b", sig="nonsense").status_code == 403  # strangers do not learn what there is
    assert httpx.delete(session).status_code == 200
    assert httpx.delete(session).status_code == 404
    assert older("push", "b").status_code == 201


def test_a_server_that_stops_ends_its_sessions(server: Server) -> None:
    session = opened(server, "pub", "ending", "encoder")
    assert server.stop() == 0
    server.start()
    assert httpx.get(session).status_code == 404
    opened(server, "pub", "ending", "encoder")  # the same stay goes on
