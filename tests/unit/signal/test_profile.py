"""What a session asks to be: facts for the room, and one answer for the client."""

import struct
from dataclasses import replace
from typing import Any

import pytest
from livekit.protocol import models, rtc

from rtcloud.accounts.tokens import JoinGrant, verify_join_token
from rtcloud.accounts.usersig import make_user_sig
from rtcloud.rooms import commands, facts
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.participant import Device, Participant, Permission, Role
from rtcloud.signal import messages
from rtcloud.signal.admission import Admission
from rtcloud.signal.joining import JoinAttempt
from rtcloud.signal.outputs import Command, Post, Send
from rtcloud.signal.profile import MAX_CHANGES
from rtcloud.signal.session import Session

APP, KEY, NOW = 1400000000, "the key", 1_700_000_000_000
REF = RoomRef(APP, True, "77")
LISTENER = JoinGrant(REF, "alice", NOW, role=Role.AUDIENCE, scene="live", key_expires_ms=NOW + 60_000)


def private_map_key(bits: int, *, room: int = 77, user: str = "alice", key: str = KEY, life_s: int = 300) -> str:
    numbers = struct.pack(">IIIII", APP, room, NOW // 1000 + life_s, bits, 0)
    userbuf = struct.pack(">BH", 0, len(user)) + user.encode() + numbers
    return make_user_sig(APP, key, user, now_ms=NOW, userbuf=userbuf)


class Talk:
    """A session that was welcomed, on a clock."""

    def __init__(self, grant: JoinGrant = LISTENER) -> None:
        self.now_ms = NOW
        self.admission = Admission(grant, lambda app: ("newer", KEY) if app == APP else ())
        attempt = JoinAttempt(single=True, client=models.ClientInfo())
        self.session = Session(REF, "PA_a", attempt, lambda prefix: prefix, self.admission)
        self.alice = Participant("PA_a", "PA_a", "alice", self.admission.role, Device(), NOW)
        self.session.tell(commands.Welcome("RM_1", self.alice, (), NOW), NOW)

    def ask(self, *, request: int = 5, name: str = "", metadata: str = "", **attributes: str) -> list[Command]:
        named = {key.replace("__", "."): value for key, value in attributes.items()}
        update = rtc.UpdateParticipantMetadata(request_id=request, name=name, metadata=metadata, attributes=named)
        return self.session.receive(rtc.SignalRequest(update_metadata=update).SerializeToString(), self.now_ms)

    def tell(self, notice: commands.Notice) -> list[rtc.SignalResponse]:
        return [said.response for said in self.session.tell(notice, self.now_ms) if isinstance(said, Send)]


def posted(said: list[Command]) -> list[facts.Fact]:
    return [one.fact for one in said if isinstance(one, Post)]


def refusal(said: list[Command]) -> str:
    [command] = said
    assert isinstance(command, Send)
    answer = command.response.request_response
    assert answer.request_id == 5
    return f"{rtc.RequestResponse.Reason.Name(answer.reason)} {answer.message}"


def test_metadata_name_and_attributes_are_one_fact() -> None:
    said = Talk().ask(name="Alice", metadata="m", mood="good", hand="")
    assert posted(said) == [facts.ProfileChanged("PA_a", 5, "Alice", "m", {"mood": "good", "hand": ""})]
    assert posted(Talk().ask(mood="good")) == [facts.ProfileChanged("PA_a", 5, None, None, {"mood": "good"})]
    assert posted(Talk().ask()) == [facts.ProfileChanged("PA_a", 5, None, None, {})]  # it is answered all the same


@pytest.mark.parametrize(
    ("word", "role"),
    [("anchor", Role.ANCHOR), ("audience", Role.AUDIENCE), ("20", Role.ANCHOR), ("21", Role.AUDIENCE)],
)
def test_a_role_is_an_attribute(word: str, role: Role) -> None:
    assert posted(Talk().ask(trtc__role=word)) == [facts.RoleChosen("PA_a", role, 5)]


def test_what_comes_with_a_role_is_asked_for_too_and_granted_at_the_end() -> None:
    talk = Talk()
    said = talk.ask(trtc__role="anchor", metadata="m")
    assert [type(fact) for fact in posted(said)] == [facts.RoleChosen, facts.ProfileChanged]
    assert talk.tell(commands.Grant(5)) == []
    [answer] = talk.tell(commands.Grant(5))
    assert answer.request_response.request_id == 5
    assert answer.request_response.reason == rtc.RequestResponse.Reason.OK


def test_a_request_is_refused_with_the_first_of_its_parts() -> None:
    talk = Talk()
    talk.ask(trtc__role="anchor", metadata="m")
    [answer] = talk.tell(commands.Refuse(5, "too_many_anchors"))
    assert answer.request_response.reason == rtc.RequestResponse.Reason.LIMIT_EXCEEDED
    talk = Talk()
    talk.ask(trtc__role="anchor", metadata="m")
    talk.tell(commands.Grant(5))
    [answer] = talk.tell(commands.Refuse(5, "not_allowed"))
    assert answer.request_response.reason == rtc.RequestResponse.Reason.NOT_ALLOWED


@pytest.mark.parametrize(
    "change", [{"trtc__role": "host"}, {"trtc__role": ""}, {"trtc__blocked": ""}, {"trtc__x": "1"}]
)
def test_the_servers_attributes_are_not_for_clients(change: dict[str, Any]) -> None:
    assert refusal(Talk().ask(**change)).startswith("INVALID_REQUEST")
    assert refusal(Talk().ask(**change, mood="good")).startswith("INVALID_REQUEST")


def test_so_many_changes_a_second() -> None:
    talk = Talk()
    for _ in range(MAX_CHANGES):
        assert posted(talk.ask(mood="good"))
    assert refusal(talk.ask(mood="good")).startswith("LIMIT_EXCEEDED")
    talk.now_ms += 1000
    assert posted(talk.ask(mood="good"))


def test_a_new_key_says_what_may_be_done_from_now_on() -> None:
    talk = Talk()
    said = talk.ask(trtc__privateMapKey=private_map_key(2 | 4 | 8))
    sources = ("microphone", "screen_share_audio")
    permission = Permission(sources=sources, received=sources, update_metadata=False)
    assert posted(said) == [facts.KeyReplaced("PA_a", permission, 5)]
    assert talk.admission.grant.key_expires_ms == NOW + 300_000


@pytest.mark.parametrize(
    "key",
    [
        "",
        "nonsense",
        private_map_key(255, room=78),
        private_map_key(255, user="bob"),
        private_map_key(255, key="other"),
        private_map_key(255, life_s=-1),
        private_map_key(255 & ~2),
        make_user_sig(APP, KEY, "alice", now_ms=NOW),
    ],
)
def test_a_key_that_is_not_good_changes_nothing(key: str) -> None:
    talk = Talk()
    said = talk.ask(trtc__privateMapKey=key, trtc__role="anchor", mood="good")
    assert refusal(said) == "NOT_ALLOWED -100006: the PrivateMapKey is not good for this user and room"
    assert talk.admission.grant == LISTENER


def test_one_flipped_bit_of_a_key_is_refused() -> None:
    good = private_map_key(255)
    for place in range(0, len(good), 7):
        flipped = good[:place] + chr(ord(good[place]) ^ 1) + good[place + 1 :]
        assert refusal(Talk().ask(trtc__privateMapKey=flipped)).startswith("NOT_ALLOWED")


def test_whose_key_expired_is_removed_when_it_wants_to_speak() -> None:
    talk = Talk()
    talk.now_ms = NOW + 60_000
    assert posted(talk.ask(trtc__role="anchor")) == [facts.RoleChosen("PA_a", Role.ANCHOR, 5)]
    talk.now_ms += 1
    assert posted(talk.ask(trtc__role="anchor")) == [facts.KeyExpired("PA_a")]
    assert posted(talk.ask(trtc__role="audience")) == [facts.RoleChosen("PA_a", Role.AUDIENCE, 5)]


def test_an_anchor_is_not_asked_for_its_key_again() -> None:
    talk = Talk(replace(LISTENER, role=Role.ANCHOR))
    talk.now_ms = NOW + 60_001
    assert posted(talk.ask(trtc__role="anchor")) == [facts.RoleChosen("PA_a", Role.ANCHOR, 5)]


def test_a_new_key_in_time_lets_speak() -> None:
    talk = Talk()
    talk.now_ms = NOW + 60_001
    said = talk.ask(trtc__privateMapKey=private_map_key(255), trtc__role="anchor")
    assert [type(fact) for fact in posted(said)] == [facts.KeyReplaced, facts.RoleChosen]
    talk = Talk(replace(LISTENER, key_expires_ms=None))  # no key says anything
    talk.now_ms = NOW + 10**9
    assert posted(talk.ask(trtc__role="anchor")) == [facts.RoleChosen("PA_a", Role.ANCHOR, 5)]


def test_only_who_handed_a_key_over_sees_it() -> None:
    talk = Talk()
    key = private_map_key(255)
    talk.ask(trtc__privateMapKey=key)
    talk.tell(commands.Grant(5))
    [own] = talk.tell(commands.ShowSelf(talk.alice))
    assert own.update.participants[0].attributes[messages.PRIVATE_MAP_KEY] == key  # livekit-client waits for that
    [shown] = talk.tell(commands.ShowParticipants((talk.alice,)))
    assert shown.update.participants[0].attributes.keys() == {messages.ROLE}
    assert talk.alice.attributes == {}


def test_a_new_role_comes_with_a_token_that_says_so() -> None:
    talk = Talk()
    talk.alice.role = Role.ANCHOR
    update, refresh = talk.tell(commands.ShowSelf(talk.alice))
    info = update.update.participants[0]
    assert info.attributes[messages.ROLE] == "anchor"
    assert info.permission.can_publish
    grant = verify_join_token(refresh.refresh_token, lambda app: ("newer",), NOW)
    assert (grant.role, grant.user_id, grant.room, grant.scene) == (Role.ANCHOR, "alice", REF, "live")
    assert grant.key_expires_ms == LISTENER.key_expires_ms
    assert len(talk.tell(commands.ShowSelf(talk.alice))) == 1  # once
