"""How relays end, and what goes wrong with them: each is told by callback 401 as documented, harms nothing else, and
leaves no process behind."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from tests.kit import probes
from tests.kit.acts import Act
from tests.kit.aired import Aired, steps_ms
from tests.kit.cdn import Cdn
from tests.kit.house import House, Relay, open_house
from tests.kit.ports import free_port
from tests.kit.relaying import (
    CONNECTING,
    DISCONNECTING,
    FAILURE,
    IDLE,
    RECOVERING,
    RUNNING,
    audio,
    told,
    video,
)
from tests.kit.waiting import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

DEAD_ROOM = 5200
#: Small, so that many run at once.
SMALL: dict[str, Any] = {"VideoParams": video(width=320, height=180), "AudioParams": audio()}
ENDED = [CONNECTING, RUNNING, DISCONNECTING, IDLE]
DEADLINE_S = 60


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with open_house(tmp_path_factory.mktemp("outputs")) as opened:
        yield opened
        assert opened.is_empty()


@pytest.fixture(scope="module")
def half_dead(house: House) -> Relay:
    """One of its two outputs has nobody who listens. It has to be tried for a minute: begun first, looked at last."""
    house.stage.enter(DEAD_ROOM, "talker", Act(0))
    return house.relay(DEAD_ROOM, "alive", urls=(f"rtmp://127.0.0.1:{free_port()}/live/secret-key?sign=1",), **SMALL)


@pytest.fixture(scope="module")
def unseen(house: House) -> Relay:
    """Of a room where nobody ever is."""
    agent = {"UserId": "waiter", "UserSig": house.server.user_sig("waiter"), "MaxIdleTime": 5}
    return house.relay(5205, "nobody", **SMALL | {"AgentParams": agent})


@pytest.fixture(autouse=True)
def begun(half_dead: Relay, unseen: Relay) -> None:
    """Every test of the module runs beside them."""


def alone(house: House, room: int, name: str, **fields: Any) -> Relay:
    """A relay of one person, who is in the stream."""
    house.stage.enter(room, f"person{room}", Act(room % 10))
    relay = house.relay(room, name, **SMALL | fields)
    house.cdn.wait_for(name)
    relay.wait_for(CONNECTING, RUNNING)
    return relay


def has_ended(house: House, relay: Relay) -> None:
    def stop_again() -> str:
        try:
            house.cloud.stop_relay(relay.task_id)
        except TencentCloudSDKException as error:
            return str(error.code)
        return ""  # it is still about to end

    assert wait_until(stop_again, "the task has ended") == "ResourceNotFound"


def test_a_stopped_relay_disconnects_and_is_gone(house: House) -> None:
    relay = alone(house, 5201, "stopped")
    relay.stop()
    relay.wait_for(*ENDED)
    wait_until(lambda: relay.pid not in house.server.jobs().values(), "the job is gone")
    has_ended(house, relay)
    assert "stopped" not in house.cdn.streams()


def test_the_callback_has_the_documented_form(house: House) -> None:
    relay = alone(house, 5202, "form")
    relay.stop()
    relay.wait_for(*ENDED)
    for each in told(house.receiver, relay.task_id, relay.urls[0]):
        assert each.signed
        assert list(each.body) == ["EventGroupId", "EventType", "CallbackTs", "EventInfo"]
        assert (each.body["EventGroupId"], each.type) == (4, 401)
        assert list(each.info) == ["RoomId", "RoomType", "EventMsTs", "UserId", "TaskId", "Payload"]
        assert (each.info["RoomId"], each.info["RoomType"], each.info["UserId"]) == (5202, 0, "relay-form")
        assert list(each.payload) == ["Url", "Status", "ErrorCode", "ErrorMsg"]
        assert (each.payload["ErrorCode"], each.payload["ErrorMsg"]) == (0, "")


def test_a_dismissed_room_ends_its_relay(house: House) -> None:
    relay = alone(house, 5203, "dismissed")
    house.cloud.dismiss_room(5203)
    relay.wait_for(*ENDED)
    has_ended(house, relay)


def test_a_relay_ends_when_nobody_was_there_for_the_idle_time(house: House) -> None:
    agent = {"UserId": "idler", "UserSig": house.server.user_sig("idler"), "MaxIdleTime": 5}
    relay = alone(house, 5204, "idle", AgentParams=agent)
    (person,) = [each for each in house.stage.people if each.user_id == "person5204"]
    person.mute("video")
    person.mute("audio")
    # Who only stops sending is still there.
    time.sleep(6)
    assert relay.story() == [CONNECTING, RUNNING]
    person.leave()
    left_ms = time.time() * 1000
    relay.wait_for(*ENDED)
    after_ms = int(told(house.receiver, relay.task_id, relay.urls[0])[-1].info["EventMsTs"]) - left_ms
    assert 4500 < after_ms < 9000
    has_ended(house, relay)


def test_a_relay_without_anybody_ends_after_the_idle_time(house: House, unseen: Relay) -> None:
    unseen.wait_for(*ENDED)
    has_ended(house, unseen)


def test_a_robot_that_is_sent_out_ends_its_relay(house: House) -> None:
    relay = alone(house, 5206, "kicked")
    house.cloud.remove_users(5206, "relay-kicked")
    relay.wait_for(*ENDED)
    has_ended(house, relay)


def test_a_user_with_the_robots_id_ends_the_relay(house: House) -> None:
    relay = alone(house, 5207, "twin")
    house.stage.enter(5207, "relay-twin", Act(8))
    relay.wait_for(*ENDED)
    has_ended(house, relay)


def test_a_killed_cdn_is_found_again_and_the_other_output_does_not_notice(house: House, tmp_path: Path) -> None:
    house.stage.enter(5209, "person5209", Act(9))
    with Cdn(tmp_path / "frail") as frail:
        relay = house.relay(5209, "firm", urls=(frail.url("frail"),), **SMALL)
        firm, shaken = relay.urls
        house.cdn.wait_for("firm")
        frail.wait_for("frail")
        with house.cdn.pulling("firm") as (path, _):
            frail.kill()
            relay.wait_for(CONNECTING, RUNNING, RECOVERING, url=shaken)
            time.sleep(1)
            frail.start()
            relay.wait_for(CONNECTING, RUNNING, RECOVERING, RUNNING, url=shaken)
            frail.wait_for("frail")
        recovering = [
            each for each in told(house.receiver, relay.task_id, shaken) if each.payload["Status"] == RECOVERING
        ]
        assert recovering[0].payload["ErrorCode"] != 0
        assert recovering[0].payload["ErrorMsg"]
        again = Aired(frail.pull("frail", 1.5))
        assert probes.decode_all(again.path) == ""
        relay.stop()
        relay.wait_for(CONNECTING, RUNNING, RECOVERING, RUNNING, DISCONNECTING, IDLE, url=shaken)
    relay.wait_for(*ENDED, url=firm)
    aired = Aired(path)
    assert probes.decode_all(path) == ""
    for kind in ("audio", "video"):
        steps = steps_ms(aired.times(kind))
        assert 0 < min(steps) <= max(steps) <= 200, kind


def test_an_address_that_nobody_answers_fails_after_a_minute_and_the_other_goes_on(
    house: House, half_dead: Relay
) -> None:
    alive, dead = half_dead.urls
    half_dead.wait_for(CONNECTING, FAILURE, IDLE, url=dead, within=DEADLINE_S + 20)
    events = told(house.receiver, half_dead.task_id, dead)
    connecting = [each for each in events if each.payload["Status"] == CONNECTING]
    assert 10 <= len(connecting) <= 14, "every five seconds"
    assert all(each.payload["ErrorCode"] != 0 and each.payload["ErrorMsg"] for each in connecting[1:])
    (failed,) = [each for each in events if each.payload["Status"] == FAILURE]
    assert failed.payload["ErrorCode"] != 0
    assert failed.payload["ErrorMsg"]
    assert "secret-key" not in failed.payload["ErrorMsg"]
    lasted_ms = int(failed.info["EventMsTs"]) - int(events[0].info["EventMsTs"])
    assert lasted_ms == pytest.approx(DEADLINE_S * 1000, abs=5000)
    assert half_dead.story(alive) == [CONNECTING, RUNNING]
    aired = house.pull("alive", 2)
    assert probes.decode_all(aired.path) == ""
    half_dead.stop()
    half_dead.wait_for(*ENDED, url=alive)
    assert half_dead.story(dead) == [CONNECTING, FAILURE, IDLE], "it had ended"
    assert "secret-key" not in house.server.log.read_text(errors="replace")
