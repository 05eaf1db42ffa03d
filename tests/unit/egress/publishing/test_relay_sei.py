"""What a relay writes into its pictures, and when."""

import json
from pathlib import Path

from rtcloud.actions.relay_rules import APP_DATA
from rtcloud.client import sei
from rtcloud.egress.publishing.casting import Region
from rtcloud.egress.publishing.request import LayoutVolume, PassThrough, SeiParams
from rtcloud.egress.publishing.sei import RelayMessages
from rtcloud.mixer.layout import Rect

RULES = json.loads((Path(__file__).parents[4] / "spec/trtc-2019-07-22.extras/relay.json").read_text())["rules"]

REGIONS = (
    Region("65949987242835883c", "one", Rect(270, 480, 540, 480), 2),
    Region("陈", "two", Rect(0, 0, 540, 480), 0),
)


def messages(params: SeiParams, in_view: frozenset[str] = frozenset({"one", "two"})) -> RelayMessages:
    made = RelayMessages(
        params,
        1080,
        960,
        levels=lambda: {"65949987242835883c": 45},
        in_view=lambda: in_view,
        now=lambda: 1648544726.9,
    )
    made.regions = REGIONS
    return made


def times(params: SeiParams, pictures: range, keyframes: set[int] | None = None) -> list[int]:
    """When something was written, of pictures at these times."""
    made = messages(params)
    return [time for time in pictures if made(time in (keyframes or ()), time)]


def test_the_layout_has_the_documented_members_in_their_order() -> None:
    """R:1055–1070."""
    (message,) = messages(SeiParams(layout_volume=LayoutVolume(app_data='a"b')))(True, 0)
    assert message.payload_type == 100
    assert message.data.decode() == (
        '{"app_data":"a\\"b","canvas":{"w":1080,"h":960},"regions":['
        '{"uid":"65949987242835883c","zorder":2,"volume":45,"x":270,"y":480,"w":540,"h":480},'
        '{"uid":"陈","zorder":0,"volume":0,"x":0,"y":0,"w":540,"h":480}],"ver":"1.0","ts":1648544726}'
    )


def test_who_is_not_in_the_picture_is_not_in_the_layout() -> None:
    """R:1065 "the regions will not include the user"."""
    made = messages(SeiParams(layout_volume=LayoutVolume(payload_type=242)), frozenset({"two"}))
    (message,) = made(True, 0)
    assert message.payload_type == 242
    assert [region["uid"] for region in json.loads(message.data)["regions"]] == ["陈"]
    made.regions = ()
    made.resize(640, 360)
    (message,) = made(False, 1000)
    assert (json.loads(message.data)["regions"], json.loads(message.data)["canvas"]) == ([], {"w": 640, "h": 360})


def test_messages_keep_their_interval() -> None:
    """R:7490: late ones do not delay those that follow."""
    layout = SeiParams(layout_volume=LayoutVolume(interval=100))
    assert times(layout, range(0, 500, 66)) == [0, 132, 264, 330, 462]
    assert len(times(layout, range(0, 60_000, 66))) == 600
    assert times(SeiParams(layout_volume=LayoutVolume()), range(0, 3000, 40)) == [0, 1000, 2000]
    assert times(SeiParams(layout_volume=LayoutVolume(interval=0)), range(0, 120, 40)) == [0, 40, 80]


def test_after_a_pause_nothing_is_made_up_for() -> None:
    made = messages(SeiParams(layout_volume=LayoutVolume(interval=100)))
    assert [time for time in (0, 5000, 5040, 5080, 5120) if made(False, time)] == [0, 5000, 5120]


def test_keyframes_have_messages_where_that_is_wanted() -> None:
    """R:7491 FollowIdr."""
    follows = SeiParams(layout_volume=LayoutVolume(follow_idr=1))
    assert times(follows, range(0, 2000, 200), {600, 1000}) == [0, 600, 1000]
    assert times(SeiParams(layout_volume=LayoutVolume()), range(0, 2000, 200), {600, 1000}) == [0, 1000]


def test_a_text_passes_through_and_has_a_uuid_only_with_its_type() -> None:
    """R:7494–7508."""
    uuid = "0123456789abcdef0123456789ABCDEF"
    for kind, expected in ((5, bytes.fromhex(uuid)), (243, b"")):
        own = PassThrough(payload_content="héllo", payload_type=kind, payload_uuid=uuid)
        (message,) = messages(SeiParams(pass_through=own))(False, 0)
        assert (message.data.decode(), message.payload_type, message.uuid) == ("héllo", kind, expected)


def test_both_kinds_have_their_own_time_and_an_update_holds_at_once() -> None:
    own = PassThrough(payload_content="x", payload_type=243, interval=500)
    made = messages(SeiParams(layout_volume=LayoutVolume(), pass_through=own))
    assert [len(made(False, time)) for time in (0, 500, 1000)] == [2, 1, 2]
    made.update(SeiParams(pass_through=own))
    assert [len(made(False, time)) for time in (1040, 1080)] == [1, 0]
    made.update(SeiParams())
    assert made(True, 5000) == []


def test_whatever_the_api_takes_is_small_enough_to_be_sent() -> None:
    most = RULES["McuPassThrough.PayloadContent"]["max_length"]  # bytes
    params = SeiParams(
        layout_volume=LayoutVolume(app_data="\x01" * (APP_DATA - 1)),
        pass_through=PassThrough(payload_content="x" * most, payload_type=5, payload_uuid="ab" * 16),
    )
    made = messages(params, frozenset({"track"}))
    made.regions = (Region("\x01" * 32, "track", Rect(1000, 1000, 1000, 1000), 1_000_000),) * 16
    assert len(list(made(True, 0))) == 2
    assert all(len(message.data) <= sei.MAX_OWN_DATA for message in made(True, 10**9))
