// The recordings on the server, newest first, and the player below them.

import { listRecordings, type Recording, stopRecording } from "./api";
import { button, find, make } from "./dom";

const POLL_MS = 3000;

export class RecordingList {
  private readonly list = find("recording-list", HTMLUListElement);
  private readonly empty = find("no-recordings", HTMLParagraphElement);
  private readonly player = find("player", HTMLVideoElement);
  private shown = "";

  constructor() {
    const poll = () => {
      this.refresh()
        .catch(() => undefined) // the next poll will show it
        .finally(() => setTimeout(poll, POLL_MS));
    };
    poll();
  }

  async refresh(): Promise<void> {
    const recordings = await listRecordings();
    const described = JSON.stringify(recordings);
    if (described === this.shown) return;
    this.shown = described;
    this.empty.hidden = recordings.length > 0;
    this.list.replaceChildren(...recordings.map((recording) => this.item(recording)));
  }

  private item(recording: Recording): HTMLLIElement {
    const began = new Date(recording.beganMs).toLocaleString();
    const state = recording.running ? "recording…" : `${(recording.size / 1e6).toFixed(1)} MB`;
    const about = make(
      "span",
      { class: "about" },
      `Room ${recording.room} `,
      make("small", {}, `${began} · ${state}`),
    );
    const item = make("li", {}, about);
    const { mp4, hls } = recording;
    if (mp4 !== null) {
      item.append(
        button("Play", () => this.play(mp4)),
        make("a", { href: mp4, download: "" }, "Download MP4"),
      );
    }
    if (hls !== null && this.player.canPlayType("application/vnd.apple.mpegurl") !== "") {
      item.append(button("Play HLS", () => this.play(hls)));
    }
    if (recording.running) item.append(button("Stop", () => stopRecording(recording.taskId), "danger"));
    return item;
  }

  private async play(url: string): Promise<void> {
    this.player.hidden = false;
    this.player.src = url;
    this.player.scrollIntoView({ block: "nearest" });
    await this.player.play();
  }
}
