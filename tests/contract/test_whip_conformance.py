"""Every MUST of RFC 9725 that applies to a server, and the SHOULDs that clients lean on, by its section; with the same
of WHEP (draft-ietf-wish-whep) where it is the same. A real server, spoken to as any HTTP client would."""

import itertools
import re
from collections.abc import Iterator
from http import HTTPStatus

import httpx
import pytest

from tests.kit.server import Server
from tests.kit.whip import DATA, PWD, UFRAG, address, fragment, offer, section

SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
CANDIDATE = "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1"
RESTARTED = {"ufrag": "ysXw", "pwd": "vw5LmwG4y/e6dPP/zAP9Gp5k"}
PLAYED = offer(section("0", "opus", direction="recvonly"), section("1", "h264", direction="recvonly"))
STUN, TURN = "stun:stun.example.net", "turn:turn.example.net?transport=udp user myPassword"

_rooms = itertools.count(1)


class Client:
    """One user of one room; ``way`` pub or sub."""

    def __init__(self, http: httpx.Client, server: Server, way: str = "pub") -> None:
        self.http = http
        self.server = server
        self.way = way
        number = next(_rooms)
        self.user_id = f"user-{number}"
        self.endpoint = address(server, way, f"room-{number}", self.user_id)
        self.bearer = {"Authorization": f"Bearer {server.user_sig(self.user_id)}"}

    def post(self, body: str | bytes = "", **headers: str) -> httpx.Response:
        standard = PLAYED if self.way == "sub" else offer()
        content = body if body else standard
        return self.http.post(self.endpoint, content=content, headers={**SDP, **self.bearer, **headers})

    def opened(self) -> tuple[str, str]:
        """Address and entity tag of a session."""
        answer = self.post()
        assert answer.status_code == 201, answer.text
        return str(httpx.URL(self.server.url).join(answer.headers["Location"])), answer.headers["ETag"]

    def patch(self, at: str, body: str, **headers: str) -> httpx.Response:
        return self.http.patch(at, content=body, headers={**FRAGMENT, **headers})


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("whip") / "data", "--ice-servers", f"{STUN}, {TURN}") as started:
        yield started
        assert started.alive, "the server died"


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=10) as client:
        yield client


@pytest.fixture
def client(http: httpx.Client, shared_server: Server) -> Client:
    return Client(http, shared_server)


@pytest.fixture(params=["pub", "sub"])
def either(request: pytest.FixtureRequest, http: httpx.Client, shared_server: Server) -> Client:
    return Client(http, shared_server, request.param)


def is_problem(response: httpx.Response) -> bool:
    body = response.json()
    told = body["title"] and body["detail"] and body["status"] == response.status_code
    return response.headers["Content-Type"] == "application/problem+json" and bool(told)


# 4.1 HTTP usage ---------------------------------------------------------------------------------------------------


def test_4_1_get_of_the_endpoint_is_2xx_without_content(either: Client) -> None:
    answer = either.http.get(either.endpoint)
    assert answer.is_success
    assert not answer.content


def test_4_1_get_of_the_session_is_2xx_without_content(either: Client) -> None:
    at, _ = either.opened()
    answer = either.http.get(at)
    assert answer.is_success
    assert not answer.content


def test_4_1_errors_carry_a_problem_statement(client: Client) -> None:
    assert is_problem(client.http.post(client.endpoint, content=offer(), headers=SDP))
    assert is_problem(client.post("nothing of SDP"))
    assert is_problem(client.http.put(client.endpoint))


# 4.2 session set-up -----------------------------------------------------------------------------------------------


def test_4_2_post_of_an_offer_is_201_with_answer_and_location(either: Client) -> None:
    answer = either.post()
    assert answer.status_code == HTTPStatus.CREATED
    assert answer.headers["Content-Type"] == "application/sdp"
    assert answer.text.startswith("v=0\r\n")
    at = httpx.URL(either.endpoint).join(answer.headers["Location"])
    assert either.http.delete(at).status_code == HTTPStatus.OK


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "", "application/trickle-ice-sdpfrag"])
def test_4_2_post_without_sdp_is_415(either: Client, kind: str) -> None:
    answer = either.post(**{"Content-Type": kind})
    assert answer.status_code == HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    assert answer.headers["Accept-Post"] == "application/sdp"


def test_4_2_the_content_type_may_have_parameters_and_any_case(client: Client) -> None:
    assert client.post(**{"Content-Type": "Application/SDP; charset=utf-8"}).status_code == HTTPStatus.CREATED


@pytest.mark.parametrize(
    "body",
    [
        "hello",
        "{}",
        b"\xff\xfe",
        "v=0\r\n",
        "v=1\r\n" + offer()[5:],
        offer().replace("a=mid:1", "a=mid:0"),
        offer().replace("a=ice-ufrag", "a=nothing"),
        offer().replace("a=fingerprint", "a=nothing"),
        offer().replace("m=audio 9", "m=audio nine"),
        offer().replace("t=0 0", "t=0\x000"),
    ],
)
def test_4_2_post_of_malformed_sdp_is_400(either: Client, body: str | bytes) -> None:
    answer = either.post(body)
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert is_problem(answer)


def test_4_2_an_empty_body_is_400(client: Client) -> None:
    answer = client.http.post(client.endpoint, content=b"", headers={**SDP, **client.bearer})
    assert answer.status_code == HTTPStatus.BAD_REQUEST


def test_4_2_the_answer_uses_recvonly(client: Client) -> None:
    answer = client.post().text
    assert answer.count("a=recvonly") == 2
    assert not re.search(r"^a=(sendonly|sendrecv|inactive)\r$", answer, re.MULTILINE)


def test_4_2_sendrecv_is_answered_with_recvonly(client: Client) -> None:
    both = offer(section("0", "opus", direction="sendrecv"), section("1", "h264", direction="sendrecv"))
    assert client.post(both).text.count("a=recvonly") == 2


def test_4_2_recvonly_offers_are_refused(client: Client) -> None:
    assert client.post(PLAYED).status_code == HTTPStatus.UNPROCESSABLE_ENTITY


def test_4_2_inactive_offers_are_refused(client: Client) -> None:
    assert client.post(offer(section("0", "opus", direction="inactive"))).status_code == 422


def test_4_2_delete_ends_the_session(either: Client) -> None:
    at, _ = either.opened()
    assert either.http.delete(at).status_code == HTTPStatus.OK
    for again in (either.http.delete(at), either.http.get(at), either.patch(at, fragment(), **{"If-Match": "*"})):
        assert again.status_code == HTTPStatus.NOT_FOUND
        assert is_problem(again)


def test_4_2_options_of_the_endpoint_says_what_may_be_posted(either: Client) -> None:
    answer = either.http.options(either.endpoint)
    assert answer.status_code == HTTPStatus.OK
    assert answer.headers["Accept-Post"] == "application/sdp"


def test_4_2_a_preflight_allows_pages_of_others(either: Client) -> None:
    asking = {
        "Origin": "https://elsewhere.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    at, _ = either.opened()
    for url in (either.endpoint, at, at + "x"):
        answer = either.http.options(url, headers=asking)
        assert answer.status_code == HTTPStatus.OK
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert {"POST", "PATCH", "DELETE"} <= set(answer.headers["Access-Control-Allow-Methods"].split(", "))
        named = answer.headers["Access-Control-Allow-Headers"].lower()
        assert all(name in named for name in ("authorization", "content-type", "if-match"))


def test_4_2_responses_expose_their_headers_to_pages(either: Client) -> None:
    answer = either.post(Origin="https://elsewhere.example")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    exposed = answer.headers["Access-Control-Expose-Headers"].lower()
    assert all(name in exposed for name in ("location", "etag", "link"))


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_4_2_other_methods_of_the_endpoint_are_405(either: Client, method: str) -> None:
    answer = either.http.request(method, either.endpoint, headers=either.bearer)
    assert answer.status_code == HTTPStatus.METHOD_NOT_ALLOWED
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_4_2_other_methods_of_the_session_are_405(either: Client, method: str) -> None:
    at, _ = either.opened()
    answer = either.http.request(method, at)
    assert answer.status_code == HTTPStatus.METHOD_NOT_ALLOWED
    assert {"PATCH", "DELETE"} <= set(answer.headers["Allow"].split(", "))


# 4.3.1 PATCH ------------------------------------------------------------------------------------------------------


def test_4_3_1_patch_of_another_type_is_415(either: Client) -> None:
    at, etag = either.opened()
    answer = either.patch(at, fragment(), **{"Content-Type": "application/sdp", "If-Match": etag})
    assert answer.status_code == HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    assert answer.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"


@pytest.mark.parametrize(
    "body", ["hello", "{}", "a=ice-ufrag:EsAw\r\n", fragment(pwd="short"), "a=mid:0\r\n", "v=0\r\n" + fragment()]
)
def test_4_3_1_a_malformed_fragment_is_400(either: Client, body: str) -> None:
    at, etag = either.opened()
    answer = either.patch(at, body, **{"If-Match": etag})
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert either.http.get(at).is_success  # the session goes on


def test_4_3_1_the_entity_tag_is_strong_and_of_one_session(either: Client) -> None:
    tags = [either.opened()[1] for _ in range(3)]
    assert len(set(tags)) == 3
    assert all(re.fullmatch(r'"[^"]+"', tag) for tag in tags)


def test_4_3_1_delete_ignores_entity_tags(either: Client) -> None:
    at, _ = either.opened()
    assert either.http.delete(at, headers={"If-Match": '"another"'}).status_code == HTTPStatus.OK


@pytest.mark.parametrize("given", ['"another"', 'W/{}, "another"', "W/{}"])
def test_4_3_1_another_entity_tag_is_412(either: Client, given: str) -> None:
    at, etag = either.opened()
    answer = either.patch(at, fragment(CANDIDATE), **{"If-Match": given.format(etag)})
    assert answer.status_code == HTTPStatus.PRECONDITION_FAILED


def test_4_3_1_a_missing_if_match_is_428(either: Client) -> None:
    at, _ = either.opened()
    assert either.patch(at, fragment(CANDIDATE)).status_code == HTTPStatus.PRECONDITION_REQUIRED


# 4.3.2 trickle ----------------------------------------------------------------------------------------------------


def test_4_3_2_candidates_are_204_without_body_and_entity_tag(either: Client) -> None:
    at, etag = either.opened()
    for tags in (etag, "*", f'"another", {etag}'):
        answer = either.patch(at, fragment(CANDIDATE, "a=end-of-candidates"), **{"If-Match": tags})
        assert answer.status_code == HTTPStatus.NO_CONTENT
        assert not answer.content
        assert "ETag" not in answer.headers


@pytest.mark.parametrize(
    "candidate",
    [
        "a=candidate:1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active",
        "a=candidate:1 1 udp 1 5f1b3a52-0000-4000-8000-c0ffee.local 9 typ host",
        "a=candidate:1 1 sctp 1 192.0.2.1 9 typ host",
        "a=candidate:what is this",
        "a=candidate:",
    ],
)
def test_4_3_2_candidates_that_cannot_be_used_are_dropped_in_silence(either: Client, candidate: str) -> None:
    at, etag = either.opened()
    answer = either.patch(at, fragment(candidate, CANDIDATE), **{"If-Match": etag})
    assert answer.status_code == HTTPStatus.NO_CONTENT


def test_4_3_2_the_answer_has_all_candidates_of_the_server(either: Client) -> None:
    answer = either.post().text
    port = either.server.media_port
    assert re.search(rf"^a=candidate:\S+ 1 udp \d+ 127\.0\.0\.1 {port} typ host", answer, re.MULTILINE)
    assert "a=end-of-candidates" in answer


def test_4_3_2_an_offer_needs_no_candidates(client: Client) -> None:
    assert "a=candidate" not in offer()
    assert client.post().status_code == HTTPStatus.CREATED


# 4.3.3 ICE restarts -----------------------------------------------------------------------------------------------


def test_4_3_3_new_credentials_are_a_restart(either: Client) -> None:
    first = either.post()
    at, etag = str(httpx.URL(either.endpoint).join(first.headers["Location"])), first.headers["ETag"]
    answer = either.patch(at, fragment(CANDIDATE, **RESTARTED), **{"If-Match": "*"})
    assert answer.status_code == HTTPStatus.OK
    assert answer.headers["Content-Type"] == "application/trickle-ice-sdpfrag"
    assert re.fullmatch(r'"[^"]+"', answer.headers["ETag"])
    assert answer.headers["ETag"] != etag

    def value(text: str, name: str) -> set[str]:
        return set(re.findall(rf"^a={name}:(.*)\r$", text, re.MULTILINE))

    for name in ("ice-ufrag", "ice-pwd"):
        assert len(value(answer.text, name)) == 1
        assert value(answer.text, name) != value(first.text, name)
    assert value(answer.text, "mid") == {"0"}
    assert re.search(rf"^a=candidate:.* {either.server.media_port} typ host", answer.text, re.MULTILINE)


def test_4_3_3_the_fragment_repeats_lite_and_options_of_the_answer(client: Client) -> None:
    first = client.post()
    at = str(httpx.URL(client.endpoint).join(first.headers["Location"]))
    again = client.patch(at, fragment(**RESTARTED), **{"If-Match": "*"}).text
    for attribute in ("a=ice-lite", "a=ice-options:"):
        said = {line for line in first.text.split("\r\n") if line.startswith(attribute)}
        assert said == {line for line in again.split("\r\n") if line.startswith(attribute)}


def test_4_3_3_a_restart_without_a_section_is_one_too(client: Client) -> None:
    at, _ = client.opened()
    body = f"a=ice-ufrag:{RESTARTED['ufrag']}\r\na=ice-pwd:{RESTARTED['pwd']}\r\n"
    assert client.patch(at, body, **{"If-Match": "*"}).status_code == HTTPStatus.OK


def test_4_3_3_the_entity_tag_of_before_a_restart_is_412(client: Client) -> None:
    at, etag = client.opened()
    again = client.patch(at, fragment(**RESTARTED), **{"If-Match": etag})
    assert again.status_code == HTTPStatus.OK
    late = client.patch(at, fragment(CANDIDATE), **{"If-Match": etag})
    assert late.status_code == HTTPStatus.PRECONDITION_FAILED
    present = client.patch(at, fragment(CANDIDATE, **RESTARTED), **{"If-Match": again.headers["ETag"]})
    assert present.status_code == HTTPStatus.NO_CONTENT


def test_4_3_3_a_restart_that_fails_leaves_the_session(client: Client) -> None:
    at, etag = client.opened()
    two = fragment(**RESTARTED) + f"m=video 9 X 1\r\na=mid:1\r\na=ice-ufrag:other\r\na=ice-pwd:{PWD}\r\n"
    assert client.patch(at, two, **{"If-Match": "*"}).status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    still = client.patch(at, fragment(CANDIDATE, ufrag=UFRAG, pwd=PWD), **{"If-Match": etag})
    assert still.status_code == HTTPStatus.NO_CONTENT


# 4.4 WebRTC constraints -------------------------------------------------------------------------------------------


def test_4_4_1_answers_are_one_bundle_with_rtcp_mux_only(either: Client) -> None:
    answer = either.post().text
    assert re.search(r"^a=group:BUNDLE 0 1\r$", answer, re.MULTILINE)
    assert answer.count("a=rtcp-mux\r\n") == answer.count("a=rtcp-mux-only\r\n") == 2


@pytest.mark.parametrize("group", ["", "a=group:BUNDLE 0", "a=group:BUNDLE 0\r\na=group:BUNDLE 1"])
def test_4_4_1_sections_outside_one_bundle_are_refused(client: Client, group: str) -> None:
    assert client.post(offer(section("0", "opus"), section("1", "h264"), group=group)).status_code == 422


def test_4_4_1_rtcp_of_its_own_is_refused(client: Client) -> None:
    assert client.post(offer(section("0", "opus", "-a=rtcp-mux"))).status_code == 422


def test_4_4_2_one_sound_and_one_picture_with_one_msid_are_taken(client: Client) -> None:
    assert len(set(re.findall("a=msid:.*", offer()))) == 1
    assert client.post().status_code == HTTPStatus.CREATED


@pytest.mark.parametrize("codec", ["opus", "h264"])
def test_4_4_2_two_tracks_of_a_kind_are_refused(client: Client, codec: str) -> None:
    assert client.post(offer(section("0", codec), section("1", codec))).status_code == 422


def test_4_4_2_offers_without_msid_are_taken(client: Client) -> None:
    assert client.post(offer(section("0", "opus", "-a=msid"))).status_code == HTTPStatus.CREATED


@pytest.mark.parametrize("sections", [("opus", "h265"), ("pcmu", "h264"), ("pcmu",)])
def test_4_4_3_there_are_no_partial_successes(client: Client, sections: tuple[str, ...]) -> None:
    """A codec that nobody can use refuses the whole offer, and nobody enters."""
    answer = client.post(offer(*(section(str(mid), codec) for mid, codec in enumerate(sections))))
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert "codec" in answer.json()["detail"]


def test_4_4_3_a_data_channel_alone_is_left_out(client: Client) -> None:
    answer = client.post(offer(section("0", "opus"), section("1", "h264"), DATA))
    assert answer.status_code == HTTPStatus.CREATED
    assert re.search(r"^m=application 0 ", answer.text, re.MULTILINE)
    assert re.search(r"^a=group:BUNDLE 0 1\r$", answer.text, re.MULTILINE)


@pytest.mark.parametrize(
    ("offered", "answered"), [("actpass", "passive"), ("active", "passive"), ("passive", "active")]
)
def test_4_4_4_every_role_in_dtls_is_taken(client: Client, offered: str, answered: str) -> None:
    answer = client.post(offer(section("0", "opus", setup=offered)))
    assert answer.status_code == HTTPStatus.CREATED
    assert f"a=setup:{answered}" in answer.text


# 4.5 … 4.9 --------------------------------------------------------------------------------------------------------


def test_4_5_nothing_is_redirected_with_301_or_302(either: Client) -> None:
    for url in (either.endpoint, either.endpoint.replace("?", "/?"), either.endpoint.replace("/v2/", "//v2/")):
        answer = either.http.post(url, content=offer(), headers={**SDP, **either.bearer}, follow_redirects=False)
        assert answer.status_code not in (301, 302)


def test_4_6_ice_servers_are_told_with_the_answer_and_to_who_asks_before(either: Client) -> None:
    for answer in (either.post(), either.http.options(either.endpoint)):
        assert answer.headers.get_list("Link") == [
            '<stun:stun.example.net>; rel="ice-server"',
            '<turn:turn.example.net?transport=udp>; rel="ice-server"; username="user"; credential="myPassword"; '
            'credential-type="password"',
        ]


def test_4_6_a_preflight_is_told_no_ice_servers(client: Client) -> None:
    answer = client.http.options(client.endpoint, headers={"Access-Control-Request-Method": "POST"})
    assert "Link" not in answer.headers


@pytest.mark.parametrize("given", ["", "Basic YTpi", "Bearer", "Bearer a b"])
def test_4_7_a_missing_bearer_token_is_401(either: Client, given: str) -> None:
    headers = {"Authorization": given} if given else {}
    answer = either.http.post(either.endpoint, content=offer(), headers={**SDP, **headers})
    assert answer.status_code == HTTPStatus.UNAUTHORIZED
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_4_7_1_a_bad_bearer_token_is_401(either: Client) -> None:
    expired, another = either.server.user_sig(either.user_id, expire_s=-10), either.server.user_sig("somebody")
    for token in ("nonsense", expired, another):
        answer = either.post(Authorization=f"Bearer {token}")
        assert answer.status_code == HTTPStatus.UNAUTHORIZED
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
        assert is_problem(answer)
        assert answer.json()["code"] > 70000


def test_4_7_1_the_scheme_may_have_any_case(client: Client) -> None:
    token = client.bearer["Authorization"].removeprefix("Bearer ")
    assert client.post(Authorization=f"bEARER {token}").status_code == HTTPStatus.CREATED


def test_4_7_1_options_need_no_token(either: Client) -> None:
    assert either.http.options(either.endpoint).status_code == HTTPStatus.OK


def test_4_8_a_simulcast_offer_is_answered_with_its_layers(client: Client) -> None:
    simulcast = ("a=rid:h send", "a=rid:l send", "a=simulcast:send h;l")
    mapped = (
        "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=extmap:5 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    )
    answer = client.post(offer(section("0", "opus"), section("1", "vp8", *mapped, *simulcast)))
    assert answer.status_code == HTTPStatus.CREATED
    assert re.search(r"^a=simulcast:recv h;l\r$", answer.text, re.MULTILINE)
    assert all(f"a=rid:{name} recv" in answer.text for name in "hl")


def test_4_9_extensions_are_not_required_and_none_is_announced(client: Client) -> None:
    assert "urn:ietf:params:whip:ext" not in client.post().headers.get("Link", "")


# 5 security -------------------------------------------------------------------------------------------------------


def test_5_session_addresses_cannot_be_guessed(client: Client) -> None:
    secrets = [client.opened()[0].rsplit("/", 1)[1] for _ in range(3)]
    assert len(set(secrets)) == 3
    assert all(len(secret) >= 22 for secret in secrets)


def test_5_a_flood_of_patches_is_held_back(client: Client) -> None:
    at, etag = client.opened()
    statuses = {client.patch(at, fragment(CANDIDATE), **{"If-Match": etag}).status_code for _ in range(60)}
    assert statuses == {HTTPStatus.NO_CONTENT, HTTPStatus.TOO_MANY_REQUESTS}


def test_5_a_body_over_the_bound_is_413(either: Client) -> None:
    assert either.post(offer() + "a=x:" + "y" * 70_000 + "\r\n").status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


# WHEP -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def viewer(http: httpx.Client, shared_server: Server) -> Client:
    return Client(http, shared_server, "sub")


def test_whep_4_2_the_answer_uses_sendonly(viewer: Client) -> None:
    answer = viewer.post().text
    assert answer.count("a=sendonly") == 2
    assert not re.search(r"^a=(recvonly|sendrecv|inactive)\r$", answer, re.MULTILINE)


def test_whep_4_2_sendrecv_is_answered_with_sendonly(viewer: Client) -> None:
    both = offer(section("0", "opus", direction="sendrecv"), section("1", "h264", direction="sendrecv"))
    assert viewer.post(both).text.count("a=sendonly") == 2


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
def test_whep_4_2_offers_that_do_not_receive_are_refused(viewer: Client, direction: str) -> None:
    assert viewer.post(offer(section("0", "opus", direction=direction))).status_code == 422


def test_whep_4_2_nobody_needs_to_publish_yet(viewer: Client) -> None:
    assert viewer.post().status_code == HTTPStatus.CREATED


def test_whep_4_4_2_sections_for_several_publishers_are_taken(viewer: Client) -> None:
    many = [section(str(mid), codec, direction="recvonly") for mid, codec in enumerate(["opus", "h264"] * 3)]
    assert viewer.post(offer(*many)).text.count("a=sendonly") == 6
