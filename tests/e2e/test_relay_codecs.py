"""H.265: an application's setting, pushed by Enhanced RTMP; rooms that are fed still get what browsers can show."""

import time
from pathlib import Path

import av
import numpy as np
import pytest

from rtcloud.client import sei
from tests.kit.acts import Act
from tests.kit.aired import Box, annex_b, boxes
from tests.kit.cdn import Listener
from tests.kit.house import open_house
from tests.kit.relaying import CONNECTING, DISCONNECTING, GRID, IDLE, RUNNING, video

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

ROOM = 5601
PEOPLE = {"ann": Act(0), "bea": Act(1)}


def test_an_application_may_relay_its_mixes_in_h265(tmp_path: Path) -> None:
    with open_house(tmp_path) as house, Listener(tmp_path / "heard.mkv") as listener:
        house.server.admin("applications", "set", str(house.server.sdk_app_id), "--relay-codec", "h265")
        house.stage.enter_all(ROOM, PEOPLE)
        volume = {"LayoutVolume": {"Interval": 500, "FollowIdr": 1}}
        relay = house.relay(ROOM, urls=(listener.url,), VideoParams=video(GRID), SeiParams=volume)
        relay.wait_for(CONNECTING, RUNNING)
        time.sleep(4)
        relay.stop()
        relay.wait_for(CONNECTING, RUNNING, DISCONNECTING, IDLE)
        assert house.is_empty()
        path = listener.wait()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "hevc"
        assert (stream.width, stream.height) == (640, 360)
        frames = list(container.decode(stream))
    assert len(frames) > 3 * 15
    times = [frame.pts or 0 for frame in frames]
    assert all(before < after for before, after in zip(times, times[1:], strict=False))
    picture = np.asarray(frames[-5].to_ndarray(format="rgb24"), np.uint8)
    seen = boxes(picture, PEOPLE)
    assert seen["ann"].is_near(Box.at(0, 0, 320, 360))
    assert seen["bea"].is_near(Box.at(320, 0, 320, 360))
    with av.open(str(path)) as container:
        said = [
            message
            for packet in container.demux(video=0)
            if packet.size
            for message in sei.read(annex_b(bytes(packet)), codec="h265")
        ]
    assert len([each for each in said if each.payload_type == 100]) >= 6
