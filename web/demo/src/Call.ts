// One room that the user is in: the grid of participants and the buttons below it.

import {
  DisconnectReason,
  type Participant,
  Room,
  RoomEvent,
  Track,
  type TrackPublication,
} from "livekit-client";
import { join, type RoomId, roomLabel, startRecording, stopRecording } from "./api";
import { alertUser, button, make } from "./dom";
import { Tile } from "./Tile";

export interface CallEvents {
  left: (reason: string) => void;
  recordingChanged: () => void;
}

const REASONS: Partial<Record<DisconnectReason, string>> = {
  [DisconnectReason.DUPLICATE_IDENTITY]: "The same user joined this room elsewhere.",
  [DisconnectReason.PARTICIPANT_REMOVED]: "You were removed from the room.",
  [DisconnectReason.ROOM_DELETED]: "The room was closed.",
  [DisconnectReason.SERVER_SHUTDOWN]: "The server is shutting down.",
};

export class Call {
  readonly element = make("section", { class: "room" });
  readonly label: string;
  private readonly room = new Room({ adaptiveStream: true, dynacast: true });
  private readonly grid = make("div", { class: "grid" });
  private readonly status = make("span", { class: "status", role: "status" });
  private readonly tiles = new Map<string, Tile>();
  private readonly microphone: HTMLButtonElement;
  private readonly camera: HTMLButtonElement;
  private readonly screen: HTMLButtonElement;
  private readonly record: HTMLButtonElement;
  private taskId: string | null = null;

  constructor(
    private readonly userId: string,
    private readonly id: RoomId,
    private readonly events: CallEvents,
  ) {
    this.label = roomLabel(id);
    this.element.setAttribute("aria-label", `Room ${this.label}`);
    const me = this.room.localParticipant;
    this.microphone = button("Microphone", async () => {
      await me.setMicrophoneEnabled(!me.isMicrophoneEnabled);
    });
    this.camera = button("Camera", async () => {
      await me.setCameraEnabled(!me.isCameraEnabled);
    });
    this.screen = button("Share screen", async () => {
      await me.setScreenShareEnabled(!me.isScreenShareEnabled, { audio: true });
    });
    this.record = button("Record", () => this.toggleRecording());
    const leave = button("Leave", () => this.room.disconnect(), "danger");
    const bar = make("div", { class: "bar" });
    bar.append(this.microphone, this.camera, this.screen, this.record, leave, this.status);
    this.element.append(this.grid, bar);
    this.listen();
  }

  /** Joins, then starts what was asked for; a device that is missing does not end the call. */
  async start(microphone: boolean, camera: boolean): Promise<void> {
    const { url, token } = await join(this.userId, this.id);
    await this.room.connect(url, token);
    this.tile(this.room.localParticipant);
    for (const participant of this.room.remoteParticipants.values()) this.tile(participant);
    this.refresh();
    const me = this.room.localParticipant;
    if (microphone) await me.setMicrophoneEnabled(true).catch(tellAboutDevice("microphone"));
    if (camera) await me.setCameraEnabled(true).catch(tellAboutDevice("camera"));
    this.refresh();
  }

  async leave(): Promise<void> {
    await this.room.disconnect();
  }

  private listen(): void {
    const { room } = this;
    room.on(RoomEvent.ParticipantConnected, (participant) => {
      this.tile(participant);
      this.refresh();
    });
    room.on(RoomEvent.ParticipantDisconnected, (participant) => {
      this.removeTiles(participant.identity);
      this.refresh();
    });
    room.on(RoomEvent.TrackSubscribed, (track, publication, participant) => {
      this.tile(participant, isScreen(publication)).attach(track);
    });
    room.on(RoomEvent.TrackUnsubscribed, (track, publication, participant) => {
      this.unpublished(participant, publication, track);
    });
    room.on(RoomEvent.LocalTrackPublished, (publication, participant) => {
      if (publication.track) this.tile(participant, isScreen(publication)).attach(publication.track);
      this.refresh();
    });
    room.on(RoomEvent.LocalTrackUnpublished, (publication, participant) => {
      if (publication.track) this.unpublished(participant, publication, publication.track);
      this.refresh();
    });
    const refresh = () => {
      this.refresh();
    };
    room.on(RoomEvent.TrackMuted, refresh);
    room.on(RoomEvent.TrackUnmuted, refresh);
    room.on(RoomEvent.ActiveSpeakersChanged, refresh);
    room.on(RoomEvent.ConnectionStateChanged, refresh);
    room.on(RoomEvent.AudioPlaybackStatusChanged, () => {
      if (!room.canPlaybackAudio)
        alertUser("The browser holds the sound back: click anywhere to hear the others.");
    });
    document.addEventListener("click", () => {
      if (!room.canPlaybackAudio) void room.startAudio();
    });
    room.on(RoomEvent.Disconnected, (reason) => {
      this.events.left((reason !== undefined && REASONS[reason]) || "");
    });
  }

  private async toggleRecording(): Promise<void> {
    if (this.taskId === null) {
      this.taskId = await startRecording(this.id);
    } else {
      const stopping = this.taskId;
      this.taskId = null;
      await stopRecording(stopping);
    }
    this.refresh();
    this.events.recordingChanged();
  }

  private tile(participant: Participant, screen = false): Tile {
    const key = tileKey(participant.identity, screen);
    let tile = this.tiles.get(key);
    if (!tile) {
      tile = new Tile(participant, participant === this.room.localParticipant, screen);
      this.tiles.set(key, tile);
      this.grid.append(tile.element);
    }
    return tile;
  }

  private unpublished(participant: Participant, publication: TrackPublication, track: Track): void {
    const screen = isScreen(publication);
    const key = tileKey(participant.identity, screen);
    const tile = this.tiles.get(key);
    tile?.detach(track);
    // A share that ends at once may have been heard and never seen: its picture's end is then not told.
    if (screen && tile?.isEmpty) this.removeTile(key);
  }

  private removeTiles(identity: string): void {
    this.removeTile(tileKey(identity, false));
    this.removeTile(tileKey(identity, true));
  }

  private removeTile(key: string): void {
    this.tiles.get(key)?.element.remove();
    this.tiles.delete(key);
  }

  private refresh(): void {
    const me = this.room.localParticipant;
    this.microphone.setAttribute("aria-pressed", String(me.isMicrophoneEnabled));
    this.camera.setAttribute("aria-pressed", String(me.isCameraEnabled));
    this.screen.textContent = me.isScreenShareEnabled ? "Stop sharing" : "Share screen";
    this.record.textContent = this.taskId === null ? "Record" : "Stop recording";
    this.record.classList.toggle("recording", this.taskId !== null);
    const count = this.room.remoteParticipants.size + 1;
    this.status.textContent = `Room ${this.label} · ${this.room.state} · ${count} here`;
    for (const tile of this.tiles.values()) tile.refresh();
  }
}

function isScreen(publication: TrackPublication): boolean {
  return (
    publication.source === Track.Source.ScreenShare || publication.source === Track.Source.ScreenShareAudio
  );
}

function tileKey(identity: string, screen: boolean): string {
  return `${screen ? "screen" : "camera"}/${identity}`;
}

function tellAboutDevice(device: string): (error: unknown) => void {
  return (error) => {
    const reason = error instanceof Error ? error.message : String(error);
    alertUser(`The ${device} cannot be used: ${reason}`);
  };
}
