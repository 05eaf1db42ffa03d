"""Pages that tell which way their media goes, and that can be kept from some ways."""

from typing import Any

from playwright.async_api import Browser

from tests.kit.browser import Caller
from tests.kit.waiting import eventually

#: Remembers connections, and takes candidates out of descriptions that do not fit.
_SCRIPT = """
const Native = window.RTCPeerConnection;
window.connections = [];
const only = new RegExp(PATTERN);
window.RTCPeerConnection = class extends Native {
  constructor(given, ...more) {
    super({ ...given, ...CONFIGURATION }, ...more);
    window.connections.push(this);
  }
  setRemoteDescription({ type, sdp }) {
    const lines = sdp.split("\\r\\n").filter((line) => !line.startsWith("a=candidate:") || only.test(line));
    return super.setRemoteDescription({ type, sdp: lines.join("\\r\\n") });
  }
};
"""
_WAYS = """async () => {
  const found = [];
  for (const each of window.connections) {
    if (each.connectionState !== "connected") continue;
    const stats = await each.getStats();
    for (const { type, selectedCandidatePairId } of stats.values()) {
      if (type !== "transport" || !selectedCandidatePairId) continue;
      const pair = stats.get(selectedCandidatePairId);
      const [local, remote] = [stats.get(pair.localCandidateId), stats.get(pair.remoteCandidateId)];
      found.push({
        protocol: remote.protocol,
        address: remote.address,
        from: local.address ?? "",
        kind: local.candidateType,
        ufrag: /a=ice-ufrag:(.*)\\r/.exec(each.remoteDescription.sdp)[1],
      });
    }
  }
  return found;
}"""


async def open_on(browser: Browser, url: str, user_id: str, only: str = "", *, relayed: bool = False) -> Caller:
    """``only``: an expression that the server's candidates must match to be tried; ``relayed``: by TURN only."""
    caller = Caller(await browser.new_page(), user_id)
    configuration = '{ iceTransportPolicy: "relay" }' if relayed else "{}"
    script = _SCRIPT.replace("PATTERN", repr(only)).replace("CONFIGURATION", configuration)
    await caller.page.add_init_script(script)
    await caller.page.goto(url)
    return caller


async def ways(caller: Caller) -> list[dict[str, Any]]:
    """Of each connected peer connection: protocol and address of the server, own address and candidate's type, the
    server's ICE name."""

    async def found() -> list[dict[str, Any]]:
        of_each: list[dict[str, Any]] = await caller.page.evaluate(_WAYS)
        return of_each

    return await eventually(found, f"{caller.user_id} is connected", 20)
