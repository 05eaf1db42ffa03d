// A known moving picture and a known tone, with a flash and a beep at the same moment once a second.
//
// The picture: one colour all over, except a black bar that wanders along the bottom sixth, and the top sixth, which is
// black and turns white for four frames at each flash. The sound: a quiet tone all the time, and a loud 3 kHz beep
// during the flash. With `noise` the middle is of small squares of random brightness instead, other ones in each frame: as
// many bits as an encoder may spend.

import type { Order } from "./source-worker";

export interface SourceOptions {
  color: string;
  flash: boolean; // flash and beep at all
  hz: number;
  width: number;
  height: number;
  fps: number;
  noise?: boolean;
}

// Chromium's way to make a track from frames; not in TypeScript's library.
declare class MediaStreamTrackGenerator<T extends VideoFrame | AudioData> extends MediaStreamTrack {
  constructor(options: { kind: "audio" | "video" });
  readonly writable: WritableStream<T>;
}

type Generator<T extends VideoFrame | AudioData> = MediaStreamTrackGenerator<T>;

export function generator<T extends VideoFrame | AudioData>(kind: "audio" | "video"): Generator<T> {
  return new MediaStreamTrackGenerator<T>({ kind });
}

export class Source {
  readonly video = generator<VideoFrame>("video");
  readonly audio = generator<AudioData>("audio");
  private readonly worker = new Worker("source-worker.js", { type: "module" });

  constructor(options: SourceOptions) {
    const order: Order = { options, video: this.video.writable, audio: this.audio.writable };
    this.worker.postMessage(order, [order.video, order.audio]);
  }

  stop(): void {
    this.worker.terminate();
    this.video.stop();
    this.audio.stop();
  }
}
