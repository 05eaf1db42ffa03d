// Draws the picture and computes the sound of Source.ts in a thread of its own, so that a busy page disturbs neither.
//
// Both carry times of one clock and are handed over at one moment: the flash's first frame and the beep's first sample
// have the same time.

import type { SourceOptions } from "./Source";

export interface Order {
  options: SourceOptions;
  video: WritableStream<VideoFrame>;
  audio: WritableStream<AudioData>;
}

const RATE = 48000;
const CHUNK = RATE / 100;
const BEEP_HZ = 3000;
const FLASH_FRAMES = 4;
const TICK_MS = 4;
const NOISE_SQUARE = 10;

onmessage = ({ data }: MessageEvent<Order>) => {
  const { options } = data;
  const canvas = new OffscreenCanvas(options.width, options.height);
  const video = data.video.getWriter();
  const audio = data.audio.getWriter();
  const began = performance.now();
  const nextFrame = { number: 0 };
  let samples = 0;
  setInterval(() => {
    const elapsed = performance.now() - began;
    const due = Math.floor((elapsed / 1000) * options.fps);
    if (due >= nextFrame.number) {
      nextFrame.number = due + 1;
      const timestamp = Math.round((due * 1e6) / options.fps);
      draw(canvas, options, due);
      write(video, new VideoFrame(canvas, { timestamp }));
    }
    while (((samples + CHUNK) * 1000) / RATE <= elapsed) {
      write(audio, sound(options, samples));
      samples += CHUNK;
    }
  }, TICK_MS);
};

/** A frame that the track cannot take now is dropped, as a camera would. */
function write<T extends VideoFrame | AudioData>(writer: WritableStreamDefaultWriter<T>, data: T): void {
  writer.write(data).catch(() => {
    data.close();
  });
}

function isFlashing({ flash, fps }: SourceOptions, frame: number): boolean {
  return flash && frame >= fps && frame % fps < FLASH_FRAMES;
}

function draw(canvas: OffscreenCanvas, options: SourceOptions, frame: number): void {
  const { width, height, color } = options;
  const pen = canvas.getContext("2d", { alpha: false });
  if (!pen) throw new Error("no 2d context");
  pen.fillStyle = color;
  pen.fillRect(0, 0, width, height);
  if (options.noise) drawNoise(pen, width, height);
  pen.fillStyle = isFlashing(options, frame) ? "#ffffff" : "#000000";
  pen.fillRect(0, 0, width, height / 6);
  pen.fillStyle = "#000000";
  pen.fillRect(((frame * 3) % 100) * (width / 100), (height * 5) / 6, width / 20, height / 6);
}

function drawNoise(pen: OffscreenCanvasRenderingContext2D, width: number, height: number): void {
  for (let y = height / 6; y < (height * 5) / 6; y += NOISE_SQUARE) {
    for (let x = 0; x < width; x += NOISE_SQUARE) {
      const level = Math.floor(Math.random() * 256);
      pen.fillStyle = `rgb(${level} ${level} ${level})`;
      pen.fillRect(x, y, NOISE_SQUARE, NOISE_SQUARE);
    }
  }
}

function sound(options: SourceOptions, first: number): AudioData {
  const { hz, fps } = options;
  const data = new Float32Array(CHUNK);
  for (let index = 0; index < CHUNK; index++) {
    const second = (first + index) / RATE;
    const beep = isFlashing(options, Math.floor(second * fps))
      ? 0.6 * Math.sin(2 * Math.PI * BEEP_HZ * second)
      : 0;
    data[index] = beep + 0.1 * Math.sin(2 * Math.PI * hz * second);
  }
  return new AudioData({
    format: "f32-planar",
    sampleRate: RATE,
    numberOfFrames: CHUNK,
    numberOfChannels: 1,
    timestamp: Math.round((first * 1e6) / RATE),
    data,
  });
}
