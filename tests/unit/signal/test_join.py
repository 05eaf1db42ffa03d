import struct
from dataclasses import replace

import pytest

from rtcloud.accounts.entities import Application, ApplicationSettings
from rtcloud.accounts.tokens import JoinGrant, verify_join_token
from rtcloud.accounts.usersig import make_user_sig
from rtcloud.media.node import Rights
from rtcloud.rooms.commands import LeaveCause
from rtcloud.rooms.ids import AUTO_RECORDER, RoomRef
from rtcloud.rooms.participant import Device, Participant, Role
from rtcloud.signal.admission import Admission
from rtcloud.signal.join import (
    BAD_PARAMETER,
    BAD_PRIVATE_MAP_KEY,
    BAD_ROOM,
    MAY_NOT_CREATE,
    NOT_ENABLED,
    ROOM_FULL,
    UNKNOWN_APPLICATION,
    JoinBody,
    JoinError,
    JoinService,
    RoomRefusal,
)

APP, KEY, NOW = 1400000000, "5bd2850fff3ecb11d7c805251c51ee46", 1_700_000_000_000


class Clock:
    def now_ms(self) -> int:
        return NOW

    def monotonic(self) -> float:
        return 0.0


APPLICATION = Application(APP, "100000000001", "default", KEY)


def keys(app: int) -> tuple[str, ...]:
    return (KEY,) if app == APP else ()


def refusal(*, is_open: bool = True, is_full: bool = False) -> RoomRefusal:
    def why(
        ref: RoomRef, scene: str, user_id: str, role: Role, *, robot: bool = False, may_create: bool = True
    ) -> LeaveCause | None:
        if not is_open and not may_create:
            return "may_not_create"
        return "full" if is_full else None

    return why


def service(settings: ApplicationSettings | None = None, *, is_open: bool = True, is_full: bool = False) -> JoinService:
    application = replace(APPLICATION, settings=settings or APPLICATION.settings)
    rooms = refusal(is_open=is_open, is_full=is_full)
    return JoinService(lambda app: application if app == APP else None, Clock(), rooms)


def private_map_key(bits: int, *, room: int = 77, key: str = KEY, life_s: int = 60) -> str:
    numbers = struct.pack(">IIIII", APP, room, NOW // 1000 + life_s, bits, 0)
    return make_user_sig(APP, key, "alice", now_ms=NOW, userbuf=b"\0\0\5alice" + numbers)


def body(**more: object) -> JoinBody:
    values: dict[str, object] = {
        "sdk_app_id": APP,
        "user_id": "alice",
        "user_sig": make_user_sig(APP, KEY, "alice", now_ms=NOW, expire_s=60),
        "room_id": 77,
    }
    return JoinBody(**(values | more))  # type: ignore[arg-type]


def admit(**more: object) -> object:
    return service().admit(body(**more), "ws://here")


def test_the_token_admits_to_the_room() -> None:
    result = service().admit(body(), "ws://here")
    grant = verify_join_token(result.token, keys, NOW)
    assert grant.room == RoomRef(APP, True, "77")
    assert result.room == {"sdkAppId": APP, "roomId": 77}
    assert result.user["role"] == "anchor"
    assert result.expiresAt == grant.expires_ms


def test_a_string_of_digits_is_a_string_room() -> None:
    result = service().admit(body(room_id=None, str_room_id="77"), "ws://here")
    assert verify_join_token(result.token, keys, NOW).room == RoomRef(APP, False, "77")


def test_an_audience_of_a_live_room_may_not_publish() -> None:
    result = service().admit(body(scene="live", role="audience"), "ws://here")
    grant = verify_join_token(result.token, keys, NOW)
    assert grant.role == Role.AUDIENCE
    assert grant.can_publish  # as an anchor, which it may become
    assert result.user["role"] == "audience"
    assert result.user["permissions"] == ["subscribe"]
    # and that is what the room makes of it
    admission = Admission(grant, keys)
    one = Participant("PA", "PA", "alice", admission.role, Device(), NOW, permission=admission.permission())
    assert (one.can_publish, one.can_send_data) == (False, False)
    assert one.rights() == Rights(send_audio=False, send_video=False, send_screen=False, data=False)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sdk_app_id": 1}, UNKNOWN_APPLICATION),
        ({"room_id": 0}, BAD_ROOM),
        ({"room_id": None}, BAD_ROOM),
        ({"room_id": None, "str_room_id": "a/b"}, BAD_ROOM),
        ({"user_id": "bob"}, 70013),
        ({"user_id": AUTO_RECORDER}, BAD_PARAMETER),
        ({"user_sig": make_user_sig(APP, "other", "alice", now_ms=NOW)}, 70009),
        ({"user_sig": make_user_sig(APP, KEY, "alice", now_ms=NOW - 90_000, expire_s=60)}, 70001),
        ({"user_sig": make_user_sig(7, KEY, "alice", now_ms=NOW)}, 70014),
        ({"user_sig": "x"}, 70003),
    ],
)
def test_refusals_carry_the_documented_code(change: dict[str, object], code: int) -> None:
    with pytest.raises(JoinError) as caught:
        admit(**change)
    assert caught.value.code == code


def test_a_user_sig_of_the_previous_key_admits_until_it_ends() -> None:
    rotated = replace(APPLICATION, secret_key="new", previous_secret_key=KEY, previous_until_ms=NOW + 1)
    result = JoinService(lambda app: rotated, Clock(), refusal()).admit(body(), "ws://here")
    assert verify_join_token(result.token, lambda app: ("new",), NOW).user_id == "alice"
    ended = replace(rotated, previous_until_ms=NOW)
    with pytest.raises(JoinError) as caught:
        JoinService(lambda app: ended, Clock(), refusal()).admit(body(), "ws://here")
    assert caught.value.code == 70009


def test_only_scenes_of_the_application_are_opened() -> None:
    live = service(ApplicationSettings(scenes=("live",)))
    assert live.admit(body(scene="live"), "").token
    with pytest.raises(JoinError, match="scene rtc") as caught:
        live.admit(body(), "")
    assert (caught.value.status, caught.value.code) == (403, NOT_ENABLED)


CONTROLLED = ApplicationSettings(permission_control=True)


def granted(bits: int, *, is_open: bool = True, **more: object) -> JoinGrant:
    result = service(CONTROLLED, is_open=is_open).admit(body(private_map_key=private_map_key(bits), **more), "")
    return verify_join_token(result.token, keys, NOW)


def test_a_private_map_key_says_what_may_be_done() -> None:
    everything = granted(255, is_open=False)
    assert everything.key_expires_ms == NOW + 60_000
    uncontrolled = verify_join_token(service().admit(body(), "").token, keys, NOW)
    assert replace(everything, key_expires_ms=None) == uncontrolled
    viewer = granted(42)
    assert (viewer.can_publish, viewer.can_publish_data, viewer.can_create) == (False, False, False)
    assert viewer.can_subscribe
    assert viewer.can_subscribe_sources == ("microphone", "camera", "screen_share_audio")
    speaker = granted(2 | 4)
    assert (speaker.can_publish, speaker.can_publish_data, speaker.can_subscribe) == (True, True, False)
    assert speaker.can_publish_sources == ("microphone", "screen_share_audio")
    audience = granted(255, scene="live", role="audience")
    assert (audience.role, audience.can_publish) == (Role.AUDIENCE, True)
    assert audience.can_subscribe_sources == ()
    listener = granted(42, scene="live", role="audience")
    assert (listener.role, listener.can_publish) == (Role.AUDIENCE, False)


@pytest.mark.parametrize(
    "key",
    [
        None,
        "",
        "nonsense",
        make_user_sig(APP, KEY, "alice", now_ms=NOW),
        private_map_key(255, room=78),
        private_map_key(255, key="other"),
        private_map_key(255, life_s=-1),
        private_map_key(255 & ~2),
    ],
)
def test_where_permissions_are_controlled_nobody_enters_without_a_key_for_the_room(key: str | None) -> None:
    with pytest.raises(JoinError) as caught:
        service(CONTROLLED).admit(body(private_map_key=key), "")
    assert (caught.value.status, caught.value.code) == (403, BAD_PRIVATE_MAP_KEY)
    assert service().admit(body(private_map_key=key), "").token  # not controlled: not looked at


def test_who_may_not_create_a_room_waits_until_it_is_open() -> None:
    assert granted(254).can_create is False
    with pytest.raises(JoinError) as caught:
        granted(254, is_open=False)
    assert (caught.value.status, caught.value.code) == (403, MAY_NOT_CREATE)


def test_a_full_room_is_a_refusal_of_its_own() -> None:
    with pytest.raises(JoinError) as caught:
        service(is_full=True).admit(body(), "")
    assert (caught.value.status, caught.value.code) == (403, ROOM_FULL)
