import pytest

from rtcloud.accounts.entities import Application
from rtcloud.accounts.tokens import verify_join_token
from rtcloud.accounts.usersig import make_user_sig
from rtcloud.rooms.ids import RoomRef
from rtcloud.signal.join import BAD_ROOM, UNKNOWN_APPLICATION, JoinBody, JoinError, JoinService

APP, KEY, NOW = 1400000000, "5bd2850fff3ecb11d7c805251c51ee46", 1_700_000_000_000


class Clock:
    def now_ms(self) -> int:
        return NOW

    def monotonic(self) -> float:
        return 0.0


APPLICATION = Application(APP, "100000000001", "default", KEY)


def find(app: int) -> Application | None:
    return APPLICATION if app == APP else None


def keys(app: int) -> tuple[str, ...]:
    return (KEY,) if app == APP else ()


def body(**more: object) -> JoinBody:
    values: dict[str, object] = {
        "sdk_app_id": APP,
        "user_id": "alice",
        "user_sig": make_user_sig(APP, KEY, "alice", now_ms=NOW, expire_s=60),
        "room_id": 77,
    }
    return JoinBody(**(values | more))  # type: ignore[arg-type]


def admit(**more: object) -> object:
    return JoinService(find, Clock()).admit(body(**more), "ws://here")


def test_the_token_admits_to_the_room() -> None:
    result = JoinService(find, Clock()).admit(body(), "ws://here")
    grant = verify_join_token(result.token, keys, NOW)
    assert grant.room == RoomRef(APP, True, "77")
    assert result.room == {"sdkAppId": APP, "roomId": 77}
    assert result.user["role"] == "anchor"
    assert result.expiresAt == grant.expires_ms


def test_a_string_of_digits_is_a_string_room() -> None:
    result = JoinService(find, Clock()).admit(body(room_id=None, str_room_id="77"), "ws://here")
    assert verify_join_token(result.token, keys, NOW).room == RoomRef(APP, False, "77")


def test_an_audience_of_a_live_room_may_not_publish() -> None:
    result = JoinService(find, Clock()).admit(body(scene="live", role="audience"), "ws://here")
    grant = verify_join_token(result.token, keys, NOW)
    assert not grant.can_publish
    assert result.user["role"] == "audience"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sdk_app_id": 1}, UNKNOWN_APPLICATION),
        ({"room_id": 0}, BAD_ROOM),
        ({"room_id": None}, BAD_ROOM),
        ({"room_id": None, "str_room_id": "a/b"}, BAD_ROOM),
        ({"user_id": "bob"}, 70013),
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
