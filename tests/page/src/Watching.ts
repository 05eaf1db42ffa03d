// Every picture of a remote participant as it is shown: when, and how wide.

export interface Shown {
  at: number; // ms of performance.now()
  width: number;
}

export class Watching {
  private readonly shown: Shown[] = [];
  private over = false;

  constructor(private readonly video: HTMLVideoElement) {
    this.next();
  }

  stop(): Shown[] {
    this.over = true;
    return this.shown;
  }

  private next(): void {
    this.video.requestVideoFrameCallback((at, { width }) => {
      if (this.over) return;
      this.shown.push({ at, width });
      this.next();
    });
  }
}
