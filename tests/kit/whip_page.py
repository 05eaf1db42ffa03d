"""A plain web page that publishes by WHIP and watches by WHEP: RTCPeerConnection and fetch, no library."""

from typing import Any

from playwright.async_api import Page

from tests.kit.browser import is_near
from tests.kit.server import Server
from tests.kit.waiting import eventually
from tests.kit.whip import address

_SCRIPT = """
window.whip = {
  calls: {},

  source(color, hz) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [320, 240];
    const context = canvas.getContext("2d");
    let count = 0;
    const draw = () => {
      context.fillStyle = color;
      context.fillRect(0, 0, 320, 240);
      context.fillStyle = "black";
      context.fillRect((count++ * 4) % 310, 220, 10, 20);
    };
    draw();
    setInterval(draw, 33);
    const audio = new AudioContext();
    const tone = new OscillatorNode(audio, {frequency: hz});
    const out = audio.createMediaStreamDestination();
    tone.connect(new GainNode(audio, {gain: 0.2})).connect(out);
    tone.start();
    return [canvas.captureStream(30).getVideoTracks()[0], out.stream.getAudioTracks()[0]];
  },

  async publish(name, {url, token, color, hz, codec, simulcast}) {
    const pc = new RTCPeerConnection();
    const stream = new MediaStream();
    for (const track of this.source(color, hz)) {
      const init = {direction: "sendonly", streams: [stream]};
      if (simulcast && track.kind === "video") {
        init.sendEncodings = [{rid: "h"}, {rid: "l", scaleResolutionDownBy: 2}];
      }
      const transceiver = pc.addTransceiver(track, init);
      if (codec && track.kind === "video") {
        const codecs = RTCRtpSender.getCapabilities("video").codecs;
        transceiver.setCodecPreferences(codecs.filter((each) => each.mimeType.toLowerCase() === "video/" + codec));
      }
    }
    return await this.begin(name, pc, url, token);
  },

  async play(name, {url, token, video, audio}) {
    const pc = new RTCPeerConnection();
    for (let i = 0; i < (audio ?? 1); i++) pc.addTransceiver("audio", {direction: "recvonly"});
    for (let i = 0; i < (video ?? 1); i++) pc.addTransceiver("video", {direction: "recvonly"});
    pc.ontrack = ({track, transceiver}) => {
      const element = document.createElement(track.kind);
      element.autoplay = true;
      element.muted = track.kind === "video";
      element.srcObject = new MediaStream([track]);
      element.id = name + "-" + transceiver.mid;
      document.body.append(element);
    };
    return await this.begin(name, pc, url, token);
  },

  async begin(name, pc, url, token) {
    await pc.setLocalDescription();
    const response = await fetch(url, {
      method: "POST",
      body: pc.localDescription.sdp,
      headers: {"Content-Type": "application/sdp", ...(token ? {Authorization: "Bearer " + token} : {})},
    });
    const text = await response.text();
    if (response.status !== 201) { pc.close(); return {status: response.status, text}; }
    const at = new URL(response.headers.get("Location"), url).href;
    this.calls[name] = {pc, at, etag: response.headers.get("ETag")};
    await pc.setRemoteDescription({type: "answer", sdp: text});
    return {status: 201, text, at, etag: response.headers.get("ETag")};
  },

  async restart(name) {
    const call = this.calls[name];
    call.pc.restartIce();
    const offer = await call.pc.createOffer();
    await call.pc.setLocalDescription(offer);
    const lines = call.pc.localDescription.sdp.split("\\r\\n");
    const first = lines.findIndex((line) => line.startsWith("m="));
    const kept = lines.filter((line, at) => /^a=group:/.test(line) || at === first
      || (at > first && /^a=(mid|ice-ufrag|ice-pwd):/.test(line)));
    const end = kept.findIndex((line, at) => at > 1 && line.startsWith("a=mid:") && at > 4);
    const body = (end < 0 ? kept : kept.slice(0, end)).join("\\r\\n") + "\\r\\n";
    const response = await fetch(call.at, {
      method: "PATCH", body, headers: {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*"},
    });
    const text = await response.text();
    if (response.status !== 200) return {status: response.status, text, body};
    const value = (key) => text.split("\\r\\n").find((line) => line.startsWith(key));
    const answer = call.pc.currentRemoteDescription.sdp
      .replace(/a=ice-ufrag:.*/g, value("a=ice-ufrag:")).replace(/a=ice-pwd:.*/g, value("a=ice-pwd:"));
    await call.pc.setRemoteDescription({type: "answer", sdp: answer});
    call.etag = response.headers.get("ETag");
    return {status: 200, text, etag: call.etag};
  },

  async stop(name) {
    const call = this.calls[name];
    const response = await fetch(call.at, {method: "DELETE"});
    call.pc.close();
    return response.status;
  },

  async stats(name) {
    const found = [];
    for (const each of (await this.calls[name].pc.getStats()).values()) {
      if (["inbound-rtp", "outbound-rtp", "candidate-pair"].includes(each.type)) found.push(each);
    }
    return found;
  },

  look(id) {
    const video = document.getElementById(id);
    if (!video || !video.videoWidth) return null;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    const context = canvas.getContext("2d");
    context.drawImage(video, 0, 0);
    return [...context.getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data].slice(0, 3);
  },
};
"""


class WhipPage:
    """``name`` tells the connections of one page apart."""

    def __init__(self, page: Page, server: Server) -> None:
        self.page = page
        self.server = server

    @classmethod
    async def open(cls, page: Page, url: str, server: Server) -> "WhipPage":
        await page.goto(url)
        await page.evaluate(_SCRIPT)
        return cls(page, server)

    async def publish(self, stream: str, user_id: str, color: str, hz: float = 440, **more: Any) -> dict[str, Any]:
        url = more.pop("url", "") or address(self.server, "pub", stream, user_id)
        wanted = {"url": url, "token": self.server.user_sig(user_id), "color": color, "hz": hz, **more}
        return await self._call("publish", user_id, wanted)

    async def play(self, stream: str, user_id: str, *, only: str = "", **more: Any) -> dict[str, Any]:
        query = {"UserId": only} if only else {}
        url = more.pop("url", "") or address(self.server, "sub", stream, user_id, **query)
        return await self._call("play", user_id, {"url": url, "token": self.server.user_sig(user_id), **more})

    async def restart(self, user_id: str) -> dict[str, Any]:
        return await self._call("restart", user_id)

    async def stop(self, user_id: str) -> int:
        return int(await self._call("stop", user_id))

    async def stats(self, user_id: str, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self._call("stats", user_id)
        return [each for each in found if each["type"] == kind]

    async def shows(self, user_id: str, color: str, mid: int = 1, within: float = 20.0) -> None:
        """That colour comes to be in the middle of the picture of that section."""
        seen: list[int] | None = None

        async def near() -> bool:
            nonlocal seen
            seen = await self._call("look", f"{user_id}-{mid}")
            return seen is not None and is_near(tuple(seen), color)

        await eventually(near, f"{user_id} sees {color} in section {mid}", within, lambda: seen)

    async def _call(self, method: str, *arguments: Any) -> Any:
        return await self.page.evaluate("([method, args]) => whip[method](...args)", [method, list(arguments)])
