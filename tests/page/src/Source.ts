// A known moving picture and a known tone, with a flash and a beep at the same moment once a second.
//
// The picture: one colour all over, except a black bar that wanders along the bottom sixth, and the top sixth, which is
// black and turns white for a tenth of a second at each flash. The sound: a quiet tone all the time, and a loud 3 kHz
// beep during the flash.

export interface SourceOptions {
  color: string;
  hz: number;
  width: number;
  height: number;
  fps: number;
}

const BEEP_HZ = 3000;
const FLASH_MS = 100;

export class Source {
  readonly video: MediaStreamTrack;
  readonly audio: MediaStreamTrack;
  private readonly canvas = document.createElement("canvas");
  private readonly context = new AudioContext({ sampleRate: 48000 });
  private readonly beep = new GainNode(this.context, { gain: 0 });
  private nextFlash = performance.now() + 1000;
  private stopped = false;

  constructor(private readonly options: SourceOptions) {
    this.canvas.width = options.width;
    this.canvas.height = options.height;
    const destination = new MediaStreamAudioDestinationNode(this.context, { channelCount: 2 });
    this.oscillate(options.hz, new GainNode(this.context, { gain: 0.1 }), destination);
    this.oscillate(BEEP_HZ, this.beep, destination);
    this.audio = first(destination.stream.getAudioTracks());
    this.draw();
    this.video = first(this.canvas.captureStream(options.fps).getVideoTracks());
  }

  async start(): Promise<void> {
    await this.context.resume();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.video.stop();
    this.audio.stop();
    await this.context.close();
  }

  private oscillate(frequency: number, gain: GainNode, to: AudioNode): void {
    const oscillator = new OscillatorNode(this.context, { frequency });
    oscillator.connect(gain).connect(to);
    oscillator.start();
  }

  private readonly draw = (): void => {
    if (this.stopped) return;
    const now = performance.now();
    if (now >= this.nextFlash) {
      this.nextFlash += 1000 * Math.ceil((now - this.nextFlash + 1) / 1000);
      const at = this.context.currentTime;
      this.beep.gain.setValueAtTime(0.8, at);
      this.beep.gain.setValueAtTime(0, at + FLASH_MS / 1000);
    }
    const flashing = this.nextFlash - now > 1000 - FLASH_MS;
    const { width, height, color } = this.options;
    const pen = this.canvas.getContext("2d", { alpha: false });
    if (pen) {
      pen.fillStyle = color;
      pen.fillRect(0, 0, width, height);
      pen.fillStyle = flashing ? "#ffffff" : "#000000";
      pen.fillRect(0, 0, width, height / 6);
      pen.fillStyle = "#000000";
      pen.fillRect(((now / 10) % 100) * (width / 100), (height * 5) / 6, width / 20, height / 6);
    }
    requestAnimationFrame(this.draw);
  };
}

function first(tracks: MediaStreamTrack[]): MediaStreamTrack {
  const track = tracks[0];
  if (!track) throw new Error("the stream has no track");
  return track;
}
