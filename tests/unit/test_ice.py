"""Credentials for TURN servers that share a secret (coturn's use-auth-secret)."""

import base64
import hashlib
import hmac

from rtcloud.ice import IceServer, IceServers, parsed
from rtcloud.signal.messages import reconnect_response
from rtcloud.whip.admitting import link

NOW_MS = 1_700_000_000_999
SECRET = "north"
SERVERS = IceServers((IceServer("stun:stun.example.net"),), ("turn:a.example.net", "turns:b.example.net"), SECRET, 600)


def test_credentials_hold_for_a_while_and_are_signed_by_the_secret() -> None:
    fixed, turn, turns = SERVERS.given("alice", NOW_MS)
    assert (fixed.uri, fixed.username, fixed.credential) == ("stun:stun.example.net", "", "")
    assert turn.username == turns.username == "1700000600:alice"
    expected = hmac.new(SECRET.encode(), turn.username.encode(), hashlib.sha1).digest()
    assert base64.b64decode(turn.credential) == expected
    assert [turn.uri, turns.uri] == ["turn:a.example.net", "turns:b.example.net"]


def test_a_user_name_ends_no_header_and_separates_nothing() -> None:
    header = link(SERVERS.given('a:"b"\\', NOW_MS)[1])
    assert header.startswith('<turn:a.example.net>; rel="ice-server"; username="1700000600:a__b__"; credential="')
    assert header.endswith('"; credential-type="password"')


def test_without_turn_everybody_is_told_the_same() -> None:
    servers = IceServers((parsed("turn:t.example.net user pass"),))
    assert servers.given("alice", NOW_MS) == servers.fixed == (IceServer("turn:t.example.net", "user", "pass"),)


def test_clients_are_told_when_they_resume_too() -> None:
    told = reconnect_response(SERVERS.given("alice", NOW_MS)).reconnect.ice_servers
    assert [list(server.urls) for server in told] == [[server.uri] for server in SERVERS.given("alice", NOW_MS)]
    assert told[1].username == "1700000600:alice"


def test_secrets_are_not_shown() -> None:
    assert SECRET not in repr(SERVERS)
    assert "credential" not in repr(SERVERS.given("alice", NOW_MS))
