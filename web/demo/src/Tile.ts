// One picture in the grid: a participant's camera, or a shared screen.

import { type Participant, Track } from "livekit-client";
import { make } from "./dom";

export class Tile {
  readonly element: HTMLElement;
  private readonly caption = make("figcaption");
  private readonly initial: HTMLElement;
  private readonly media = new Map<Track, HTMLMediaElement>();

  constructor(
    private readonly participant: Participant,
    private readonly local: boolean,
    private readonly screen: boolean,
  ) {
    const letter = participant.identity.slice(0, 1).toUpperCase();
    this.initial = make("span", { class: "initial", "aria-hidden": "true" }, screen ? "🖥" : letter);
    this.element = make("figure", { class: screen ? "tile screen" : "tile" }, this.initial, this.caption);
    this.refresh();
  }

  /** Whether nothing is shown or played here. */
  get isEmpty(): boolean {
    return this.media.size === 0;
  }

  attach(track: Track): void {
    if (this.local && track.kind === Track.Kind.Audio) return;
    const media = track.attach();
    if (track.kind === Track.Kind.Video) media.setAttribute("aria-label", this.label());
    this.media.set(track, media);
    this.element.prepend(media);
    this.refresh();
  }

  detach(track: Track): void {
    for (const media of track.detach()) media.remove();
    this.media.delete(track);
    this.refresh();
  }

  refresh(): void {
    const silent = !this.screen && !this.participant.isMicrophoneEnabled;
    this.caption.textContent = this.label() + (silent ? " · muted" : "");
    const shown = this.screen ? this.participant.isScreenShareEnabled : this.participant.isCameraEnabled;
    this.initial.hidden = shown;
    for (const media of this.media.values()) {
      if (media instanceof HTMLVideoElement) media.hidden = !shown;
    }
    this.element.classList.toggle("speaking", !this.screen && this.participant.isSpeaking);
  }

  private label(): string {
    const name = this.local ? `${this.participant.identity} (you)` : this.participant.identity;
    return this.screen ? `${name}: screen` : name;
  }
}
