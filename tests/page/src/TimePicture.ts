// A picture that says when it was made: 24 bits of Unix milliseconds as black and white blocks. Drawn on one page and
// read on another of the same machine, it measures glass to glass.

import { generator } from "./Source";

const BITS = 24;
const COLUMNS = 6;
const BLOCK = 60;
const WIDTH = COLUMNS * BLOCK;
const HEIGHT = (BITS / COLUMNS) * BLOCK;
const FPS = 30;

/** A camera that shows the time. */
export function timePicture(): MediaStreamTrack {
  const canvas = new OffscreenCanvas(WIDTH, HEIGHT);
  const pen = canvas.getContext("2d", { alpha: false });
  if (!pen) throw new Error("no 2d context");
  const track = generator<VideoFrame>("video");
  const writer = track.writable.getWriter();
  setInterval(() => {
    const now = unixMs();
    const value = Math.round(now) % 2 ** BITS;
    for (let bit = 0; bit < BITS; bit++) {
      pen.fillStyle = Math.floor(value / 2 ** bit) % 2 ? "#fff" : "#000";
      pen.fillRect((bit % COLUMNS) * BLOCK, Math.floor(bit / COLUMNS) * BLOCK, BLOCK, BLOCK);
    }
    const frame = new VideoFrame(canvas, { timestamp: Math.round(now * 1000) });
    writer.write(frame).catch(() => {
      frame.close();
    });
  }, 1000 / FPS);
  return track;
}

/** Milliseconds from drawing to display of each picture shown during that time. */
export async function measureDelays(video: HTMLVideoElement, durationMs: number): Promise<number[]> {
  const canvas = new OffscreenCanvas(WIDTH, HEIGHT);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  if (!pen) throw new Error("no 2d context");
  const delays: number[] = [];
  const until = performance.now() + durationMs;
  while (performance.now() < until) {
    const shown = await new Promise<number>((resolve) => {
      video.requestVideoFrameCallback((_now, metadata) => {
        resolve(metadata.expectedDisplayTime);
      });
    });
    pen.drawImage(video, 0, 0, WIDTH, HEIGHT);
    const pixels = pen.getImageData(0, 0, WIDTH, HEIGHT).data;
    let value = 0;
    for (let bit = 0; bit < BITS; bit++) {
      const x = ((bit % COLUMNS) + 0.5) * BLOCK;
      const y = (Math.floor(bit / COLUMNS) + 0.5) * BLOCK;
      if ((pixels[(y * WIDTH + x) * 4] ?? 0) > 127) value += 2 ** bit;
    }
    const delay = ((performance.timeOrigin + shown) % 2 ** BITS) - value;
    if (delay > -50 && delay < 5000) delays.push(delay);
  }
  return delays;
}

function unixMs(): number {
  return performance.timeOrigin + performance.now();
}
