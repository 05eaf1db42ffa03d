// What is really seen and heard of a remote participant: decoded pixels, the spectrum, and getStats.

import type { RemoteTrack } from "livekit-client";

export type Rgb = [number, number, number];

export interface Seen {
  width: number;
  height: number;
  colors: Rgb[];
}

export class Probe {
  readonly element: HTMLMediaElement;
  private readonly analyser: AnalyserNode | null = null;

  constructor(
    readonly track: RemoteTrack,
    context: AudioContext,
  ) {
    this.element = track.attach();
    document.body.append(this.element);
    if (track.mediaStreamTrack.kind === "audio") {
      this.analyser = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 });
      new MediaStreamAudioSourceNode(context, {
        mediaStream: new MediaStream([track.mediaStreamTrack]),
      }).connect(this.analyser);
    }
  }

  close(): void {
    for (const element of this.track.detach()) element.remove();
  }

  /** The colours at places given as fractions of width and height. */
  look(places: [number, number][]): Seen {
    const video = this.element as HTMLVideoElement;
    const { videoWidth: width, videoHeight: height } = video;
    // The size is known before the first picture, which would be read as black.
    if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return { width, height, colors: [] };
    const canvas = new OffscreenCanvas(width, height);
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    if (!pen) throw new Error("no 2d context");
    pen.drawImage(video, 0, 0);
    const colors = places.map(([x, y]): Rgb => {
      const data = pen.getImageData(Math.floor(x * width), Math.floor(y * height), 1, 1).data;
      return [data[0] ?? 0, data[1] ?? 0, data[2] ?? 0];
    });
    return { width, height, colors };
  }

  /** Decibels of the strongest bin within 20 Hz of each frequency. */
  listen(frequencies: number[]): number[] {
    const analyser = this.analyser;
    if (!analyser) throw new Error("not an audio track");
    const bins = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(bins);
    const width = analyser.context.sampleRate / analyser.fftSize;
    return frequencies.map((hz) => {
      const around = bins.slice(Math.floor((hz - 20) / width), Math.ceil((hz + 20) / width) + 1);
      // JSON has no infinity: silence is the lowest figure.
      return Math.max(-200, ...around);
    });
  }
}
