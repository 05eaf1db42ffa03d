// One session of WHIP or WHEP (RFC 9725): an offer is posted, candidates follow, and a DELETE ends it.

const OFFER = "application/sdp";
const FRAGMENT = "application/trickle-ice-sdpfrag";

export class HttpSession {
  private constructor(
    private readonly peer: RTCPeerConnection,
    private readonly resource: string,
    private readonly etag: string,
    private readonly trickled: RTCIceCandidate[],
  ) {}

  /** The peer connection has what it sends or wants to receive; it is closed when this fails. */
  static async open(peer: RTCPeerConnection, address: string, token: string): Promise<HttpSession> {
    const trickled: RTCIceCandidate[] = [];
    peer.addEventListener("icecandidate", ({ candidate }) => {
      if (candidate !== null && candidate.candidate !== "") trickled.push(candidate);
    });
    let session: HttpSession | null = null;
    try {
      await peer.setLocalDescription();
      const response = await post(address, token, peer.localDescription?.sdp ?? "");
      const resource = new URL(response.headers.get("Location") ?? "", response.url).href;
      session = new HttpSession(peer, resource, response.headers.get("ETag") ?? "*", trickled);
      await peer.setRemoteDescription({ type: "answer", sdp: await response.text() });
      session.trickle();
      return session;
    } catch (error) {
      peer.close();
      await session?.close();
      throw error;
    }
  }

  /** Ends it on both sides; that it had ended there before is no matter. */
  async close(): Promise<void> {
    this.peer.close();
    await fetch(this.resource, { method: "DELETE", keepalive: true }).catch(() => undefined);
  }

  /** A server with addresses of its own answers what reaches it: a lost candidate is none to tell of. */
  private trickle(): void {
    const send = (candidates: RTCIceCandidate[]) => {
      if (candidates.length === 0) return;
      const headers = { "Content-Type": FRAGMENT, "If-Match": this.etag };
      const body = fragment(this.peer, candidates);
      fetch(this.resource, { method: "PATCH", headers, body }).catch(() => undefined);
    };
    send(this.trickled);
    this.peer.addEventListener("icecandidate", ({ candidate }) => {
      if (candidate !== null && candidate.candidate !== "") send([candidate]);
    });
  }
}

async function post(address: string, token: string, offer: string): Promise<Response> {
  const headers = { "Content-Type": OFFER, Authorization: `Bearer ${token}` };
  const response = await fetch(address, { method: "POST", headers, body: offer });
  if (response.status === 201) return response;
  const { detail } = (await response.json().catch(() => ({}))) as { detail?: string };
  throw new Error(`${detail ?? "The server refuses"} (HTTP ${response.status})`);
}

/** RFC 8840: credentials of the ICE session, then the candidates below their sections. */
function fragment(peer: RTCPeerConnection, candidates: RTCIceCandidate[]): string {
  const lines = (peer.localDescription?.sdp ?? "").split(/\r?\n/);
  const line = (start: string) => lines.find((each) => each.startsWith(start)) ?? "";
  const parts = [line("a=ice-ufrag:"), line("a=ice-pwd:"), line("m="), line("a=mid:")];
  return [...parts, ...candidates.map((each) => `a=${each.candidate}`), ""].join("\r\n");
}
