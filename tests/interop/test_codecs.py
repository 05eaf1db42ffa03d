"""Codecs, layers within a stream and redundant sound between unmodified livekit-client pages in real Chromium."""

import pytest

from tests.conftest import Open
from tests.kit.browser import BLUE, RED, Caller, is_near
from tests.kit.server import Server
from tests.kit.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.interop, pytest.mark.e2e]

#: As a browser would be that has no VP9.
WITHOUT_VP9 = """() => {
  const add = RTCPeerConnection.prototype.addTransceiver;
  const codecs = RTCRtpReceiver.getCapabilities("video").codecs.filter((one) => one.mimeType !== "video/VP9");
  RTCPeerConnection.prototype.addTransceiver = function (what, init) {
    const transceiver = add.call(this, what, init);
    if (what === "video" && init?.direction === "recvonly") transceiver.setCodecPreferences(codecs);
    return transceiver;
  };
}"""


async def shows(caller: Caller, user_id: str, width: int) -> None:
    async def is_so_wide() -> bool:
        return bool((await caller.received(user_id, "video")).get("frameWidth") == width)

    await eventually(is_so_wide, f"{caller.user_id} sees {user_id} {width} wide", within=30)


async def test_vp9_layers_follow_the_wanted_quality(shared_server: Server, open_caller: Open) -> None:
    alice, bob = await open_caller("alice"), await open_caller("bob")
    await alice.join(shared_server, 1901)
    await bob.join(shared_server, 1901)
    await alice.publish(color=RED, codec="vp9", simulcast=True, audio=False, width=960, height=540, fps=15)
    assert (await bob.sees("alice"))["mimeType"] == "video/VP9"
    [sent] = await alice.call("sent")
    assert sent["scalabilityMode"] == "L3T3_KEY"
    await shows(bob, "alice", 960)
    for quality, width in (("low", 240), ("medium", 480), ("high", 960), ("low", 240)):
        await bob.call("setQuality", "alice", quality)
        await shows(bob, "alice", width)
    before = await bob.received("alice", "video")
    await bob.sees("alice", frames=before["framesDecoded"] + 45)
    assert is_near(await bob.color_of("alice"), RED)
    assert (await bob.received("alice", "video"))["nackCount"] == 0


async def test_av1_is_forwarded_whole(shared_server: Server, open_caller: Open) -> None:
    alice, bob = await open_caller("alice"), await open_caller("bob")
    await alice.join(shared_server, 1902)
    await bob.join(shared_server, 1902)
    await alice.publish(color=BLUE, codec="av1", audio=False, width=320, height=180, fps=15)
    assert (await bob.sees("alice"))["mimeType"] == "video/AV1"
    assert is_near(await bob.color_of("alice"), BLUE)


@pytest.mark.parametrize("single", [True, False], ids=["rtc/v1", "rtc"])
async def test_sound_with_redundancy_is_heard_with_it(shared_server: Server, open_caller: Open, single: bool) -> None:
    room = 1903 if single else 1904
    alice, bob = await open_caller("alice"), await open_caller("bob")
    await alice.join(shared_server, room, single=single)
    await bob.join(shared_server, room, single=single)
    await alice.publish(video=False, red=True, hz=440)
    await bob.hears("alice")

    async def doubled() -> bool:  # browsers name the codec within
        audio = await bob.received("alice", "audio")
        [sent] = await alice.call("sent")
        came, went = audio["bytesReceived"] / audio["packetsReceived"], sent["bytesSent"] / sent["packetsSent"]
        return bool(min(came, went) > 1.5 * sent["targetBitrate"] / 8 / 50 and audio["packetsReceived"] > 100)

    await eventually(doubled, "each packet of sound comes twice")


async def test_who_has_no_codec_is_told_so(shared_server: Server, open_caller: Open) -> None:
    alice, bob = await open_caller("alice"), await open_caller("bob")
    await bob.page.evaluate(WITHOUT_VP9)
    await alice.join(shared_server, 1905)
    await bob.join(shared_server, 1905)
    await alice.publish(codec="vp9", hz=440, width=320, height=180)
    await bob.saw_event("trackSubscriptionFailed", userId="alice", reason=1)
    await bob.hears("alice")
