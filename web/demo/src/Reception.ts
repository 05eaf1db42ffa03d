// What a viewer receives, told once a second: size, pictures, how old they are when they are shown, and bits.

interface Inbound {
  kind: string;
  timestamp: number;
  bytesReceived: number;
  framesPerSecond?: number;
  frameWidth?: number;
  frameHeight?: number;
  estimatedPlayoutTimestamp?: number;
}

interface SenderReport {
  kind: string;
  timestamp: number;
  remoteTimestamp: number;
}

/** From 1900, as NTP counts, to 1970; in milliseconds. */
const NTP_EPOCH_MS = 2_208_988_800_000;

export class Reception {
  private bytes = 0;
  private at = performance.now();
  private readonly timer: number;

  constructor(
    private readonly peer: RTCPeerConnection,
    tell: (told: string) => void,
  ) {
    this.timer = window.setInterval(() => {
      void this.measure().then(tell);
    }, 1000);
  }

  close(): void {
    clearInterval(this.timer);
  }

  private async measure(): Promise<string> {
    const found: Inbound[] = [];
    let report: SenderReport | undefined;
    let roundTripS = 0;
    (await this.peer.getStats()).forEach((each: { type: string; nominated?: boolean; kind?: string }) => {
      if (each.type === "inbound-rtp") found.push(each as unknown as Inbound);
      if (each.type === "remote-outbound-rtp" && each.kind === "video")
        report = each as unknown as SenderReport;
      if (each.type === "candidate-pair" && each.nominated === true) {
        roundTripS = (each as { currentRoundTripTime?: number }).currentRoundTripTime ?? 0;
      }
    });
    const now = performance.now();
    const bytes = found.reduce((sum, each) => sum + each.bytesReceived, 0);
    const kbits = ((bytes - this.bytes) * 8) / (now - this.at);
    this.bytes = bytes;
    this.at = now;
    const parts = [`${Math.round(kbits)} kbit/s`];
    const picture = found.find((each) => each.kind === "video" && each.frameWidth !== undefined);
    if (picture) {
      const delay = report && age(picture, report, roundTripS * 1000);
      if (delay !== undefined) parts.unshift(`${Math.round(delay)} ms`);
      const { frameWidth = 0, frameHeight = 0, framesPerSecond = 0 } = picture;
      parts.unshift(`${frameWidth} × ${frameHeight}`, `${framesPerSecond} fps`);
    }
    return parts.join(" · ");
  }
}

/** Milliseconds from capture to display. Both are told on the server's clock, whose distance the last report tells. */
function age(picture: Inbound, report: SenderReport, roundTripMs: number): number | undefined {
  if (picture.estimatedPlayoutTimestamp === undefined) return undefined;
  const ahead = report.timestamp - roundTripMs / 2 - report.remoteTimestamp;
  return picture.timestamp - ahead - (picture.estimatedPlayoutTimestamp - NTP_EPOCH_MS);
}
