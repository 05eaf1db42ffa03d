// The page of WHIP and WHEP: a camera goes into a stream, a viewer takes it out, with no SDK between.

import { type Credential, credentialOf } from "./api";
import { alertUser, button, find } from "./dom";
import { HttpSession } from "./HttpSession";
import { Reception } from "./Reception";

type Direction = "pub" | "sub";

/** A form with a stream and a user, the address that they make, and what runs with it. */
class Side {
  session: HttpSession | null = null;
  readonly status: HTMLElement;
  private readonly form: HTMLFormElement;
  private readonly address: HTMLOutputElement;

  constructor(private readonly direction: Direction) {
    this.form = find(direction, HTMLFormElement);
    this.address = find(`${direction}-address`, HTMLOutputElement);
    this.status = find(`${direction}-status`, HTMLElement);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
    });
    this.form.addEventListener("change", () => {
      this.credential().catch(alertUser);
    });
  }

  field(name: string): string {
    return (this.form.elements.namedItem(name) as HTMLInputElement).value.trim();
  }

  buttons(start: HTMLButtonElement, stop: HTMLButtonElement): void {
    start.classList.add("primary");
    const bar = this.form.querySelector(".bar");
    bar?.prepend(start, stop);
  }

  async credential(): Promise<Credential & { address: string }> {
    if (!this.form.reportValidity()) throw new Error("Please fill in the form.");
    const credential = await credentialOf(this.field("userId"));
    const query = new URLSearchParams({ SessionID: this.field("userId") });
    const only = this.direction === "sub" ? this.field("only") : "";
    if (only) query.set("UserId", only);
    const stream = encodeURIComponent(this.field("stream"));
    const path = `/v2/${this.direction}/${credential.sdkAppId}/${stream}?${query.toString()}`;
    const address = location.origin + path;
    this.address.value = address;
    return { ...credential, address };
  }

  async stop(): Promise<void> {
    await this.session?.close();
    this.session = null;
    this.status.textContent = "";
  }

  /** Says how the connection does until it is over. */
  follow(peer: RTCPeerConnection): void {
    peer.addEventListener("connectionstatechange", () => {
      this.status.textContent = peer.connectionState;
    });
  }
}

const publishing = new Side("pub");
const playing = new Side("sub");
const preview = find("preview", HTMLVideoElement);
const screen = find("screen", HTMLVideoElement);
let camera: MediaStream | null = null;
let reception: Reception | null = null;

async function publish(): Promise<void> {
  await stopPublishing();
  const { address, userSig } = await publishing.credential();
  camera = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 1280, height: 720 } });
  preview.srcObject = camera;
  const peer = new RTCPeerConnection();
  publishing.follow(peer);
  for (const track of camera.getTracks()) {
    const sender = peer.addTransceiver(track, { direction: "sendonly", streams: [camera] });
    if (track.kind === "video") preferH264(sender);
  }
  publishing.session = await HttpSession.open(peer, address, userSig);
}

async function stopPublishing(): Promise<void> {
  for (const track of camera?.getTracks() ?? []) track.stop();
  camera = null;
  preview.srcObject = null;
  await publishing.stop();
}

async function play(): Promise<void> {
  await stopPlaying();
  const { address, userSig } = await playing.credential();
  const peer = new RTCPeerConnection();
  playing.follow(peer);
  const received = new MediaStream();
  peer.addEventListener("track", ({ track }) => {
    received.addTrack(track);
  });
  for (const kind of ["video", "audio"]) peer.addTransceiver(kind, { direction: "recvonly" });
  playing.session = await HttpSession.open(peer, address, userSig);
  screen.srcObject = received;
  reception = new Reception(peer, (told) => {
    find("reception", HTMLElement).textContent = told;
  });
  await screen.play();
}

async function stopPlaying(): Promise<void> {
  reception?.close();
  reception = null;
  screen.srcObject = null;
  find("reception", HTMLElement).textContent = "";
  await playing.stop();
}

/** What recorders and relays copy. */
function preferH264(sender: RTCRtpTransceiver): void {
  const codecs = RTCRtpReceiver.getCapabilities("video")?.codecs ?? [];
  const rank = (mimeType: string) => (mimeType === "video/H264" ? 0 : 1);
  sender.setCodecPreferences([...codecs].sort((one, other) => rank(one.mimeType) - rank(other.mimeType)));
}

async function copyToken(): Promise<void> {
  const { userSig } = await publishing.credential();
  await navigator.clipboard.writeText(userSig);
  publishing.status.textContent = "The bearer token is in the clipboard.";
}

publishing.buttons(button("Publish camera", publish), button("Stop publishing", stopPublishing, "danger"));
playing.buttons(button("Play", play), button("Stop playing", stopPlaying, "danger"));
find("obs", HTMLElement).append(button("Copy the bearer token", copyToken));
for (const side of [publishing, playing]) side.credential().catch(alertUser);
window.addEventListener("pagehide", () => {
  void publishing.stop();
  void playing.stop();
});
window.addEventListener("unhandledrejection", ({ reason }) => {
  alertUser(reason);
});
