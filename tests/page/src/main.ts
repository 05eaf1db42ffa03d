// The page that browser tests drive: `window.kit` joins one room with unmodified livekit-client, publishes a known
// source and reports what it receives. All results are plain JSON.

import {
  DisconnectReason,
  type RemoteTrackPublication,
  Room,
  RoomEvent,
  type RoomOptions,
  Track,
  type TrackPublication,
  type TrackPublishOptions,
  VideoPresets,
  VideoQuality,
} from "livekit-client";
import { Features } from "./Features";
import { Probe, type Seen } from "./Probe";
import { Source, type SourceOptions } from "./Source";
import { measureDelays, timePicture } from "./TimePicture";
import { type Shown, Watching } from "./Watching";

interface JoinOptions {
  url: string;
  token: string;
  singlePeerConnection?: boolean;
}

interface PublishOptions extends Partial<SourceOptions> {
  video?: boolean;
  audio?: boolean;
  screen?: boolean;
  codec?: "h264" | "vp8" | "vp9" | "av1";
  simulcast?: boolean;
  red?: boolean;
}

interface Happened {
  event: string;
  at: number;
  [detail: string]: unknown;
}

const DEFAULT_SOURCE: SourceOptions = {
  color: "#d02020",
  flash: true,
  hz: 440,
  width: 640,
  height: 360,
  fps: 30,
};

type Stats = Record<string, unknown>;

class Kit {
  readonly events: Happened[] = [];
  features: Features | null = null;
  private room: Room | null = null;
  private source: Source | null = null;
  private readonly probes = new Map<string, Probe>();
  private readonly listening = new AudioContext({ sampleRate: 48000 });

  /** Milliseconds from the call until connected. */
  async join({ url, token, singlePeerConnection = true }: JoinOptions): Promise<number> {
    const began = performance.now();
    const options: RoomOptions = { adaptiveStream: false, dynacast: false, singlePeerConnection };
    const room = new Room(options);
    this.room = room;
    this.watch(room);
    this.features = new Features(room, (event, details) => {
      this.note(event, details);
    });
    await this.listening.resume();
    await room.connect(url, token, { autoSubscribe: true });
    return performance.now() - began;
  }

  async leave(): Promise<void> {
    await this.joined().disconnect();
    this.source?.stop();
  }

  async publish(options: PublishOptions): Promise<void> {
    const {
      video = true,
      audio = true,
      screen = false,
      codec = "h264",
      simulcast = false,
      red = false,
    } = options;
    const wanted = { ...DEFAULT_SOURCE, ...options };
    const source = new Source(wanted);
    this.source = source;
    const participant = this.joined().localParticipant;
    if (video || screen) {
      const publishing: TrackPublishOptions = {
        source: screen ? Track.Source.ScreenShare : Track.Source.Camera,
        videoCodec: codec,
        simulcast,
        backupCodec: false,
        videoEncoding: { maxBitrate: simulcast ? 1_700_000 : 1_000_000, maxFramerate: wanted.fps },
        videoSimulcastLayers: simulcast ? [VideoPresets.h180, VideoPresets.h360] : [],
      };
      await participant.publishTrack(source.video, publishing);
    }
    if (audio) {
      await participant.publishTrack(source.audio, {
        source: screen ? Track.Source.ScreenShareAudio : Track.Source.Microphone,
        dtx: false,
        red,
      });
    }
  }

  /** What the source looks and sounds like before any network: a base64 WebM of that many milliseconds. */
  async recordSource(options: Partial<SourceOptions>, durationMs: number): Promise<string> {
    const source = new Source({ ...DEFAULT_SOURCE, ...options });
    const recorder = new MediaRecorder(new MediaStream([source.video, source.audio]), {
      mimeType: "video/webm;codecs=vp8,opus",
    });
    const parts: Blob[] = [];
    const stopped = new Promise((resolve) => {
      recorder.onstop = resolve;
    });
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.start();
    await new Promise((resolve) => setTimeout(resolve, durationMs));
    recorder.stop();
    await stopped;
    source.stop();
    const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
    return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  }

  /** Publishes a camera that shows the time, for ``delays`` on another page. */
  async publishTime(codec: "h264" | "vp8"): Promise<void> {
    await this.joined().localParticipant.publishTrack(timePicture(), {
      source: Track.Source.Camera,
      videoCodec: codec,
      simulcast: false,
      backupCodec: false,
    });
  }

  async delays(userId: string, durationMs: number): Promise<number[]> {
    return measureDelays(this.picture(userId), durationMs);
  }

  /** Asks for a quality and, so many milliseconds later, tells each picture shown since; the asking is at 0. */
  async showWhile(userId: string, quality: "low" | "medium" | "high", durationMs: number): Promise<Shown[]> {
    const watching = new Watching(this.picture(userId));
    const began = performance.now();
    this.setQuality(userId, quality);
    await new Promise((resolve) => setTimeout(resolve, durationMs));
    return watching.stop().map(({ at, width }) => ({ at: at - began, width }));
  }

  async setMuted(kind: Track.Kind, muted: boolean): Promise<void> {
    for (const publication of this.joined().localParticipant.trackPublications.values()) {
      if (publication.kind === kind) {
        await (muted ? publication.mute() : publication.unmute());
      }
    }
  }

  async send(text: string, reliable: boolean, topic: string, to: string[] = []): Promise<void> {
    const data = new TextEncoder().encode(text);
    await this.joined().localParticipant.publishData(data, {
      reliable,
      topic,
      destinationIdentities: to,
    });
  }

  setQuality(userId: string, quality: "low" | "medium" | "high"): void {
    const value = { low: VideoQuality.LOW, medium: VideoQuality.MEDIUM, high: VideoQuality.HIGH }[quality];
    for (const publication of this.remote(userId)) {
      if (publication.kind === Track.Kind.Video) publication.setVideoQuality(value);
    }
  }

  setSubscribed(userId: string, subscribed: boolean): void {
    for (const publication of this.remote(userId)) publication.setSubscribed(subscribed);
  }

  /** Cuts the connection as a lost network would; livekit-client then resumes or reconnects. */
  async lose(scenario: "signal-reconnect" | "full-reconnect" | "resume-reconnect"): Promise<void> {
    await this.joined().simulateScenario(scenario);
  }

  participants(): string[] {
    return [...this.joined().remoteParticipants.values()].map((participant) => participant.identity);
  }

  state(): string {
    return this.room ? this.room.state : "none";
  }

  look(userId: string, places: [number, number][], source = "camera"): Seen {
    const probe = this.probes.get(`${userId}/${source}`);
    return probe ? probe.look(places) : { width: 0, height: 0, colors: [] };
  }

  listen(userId: string, frequencies: number[], source = "microphone"): number[] {
    return this.probes.get(`${userId}/${source}`)?.listen(frequencies) ?? frequencies.map(() => -200);
  }

  /** The inbound-rtp statistics of each track received from the user, with the codec's MIME type. */
  async received(userId: string): Promise<Stats[]> {
    return statistics(this.remote(userId), "inbound-rtp");
  }

  /** The outbound-rtp statistics: one per simulcast layer. */
  async sent(): Promise<Stats[]> {
    return statistics(this.joined().localParticipant.trackPublications.values(), "outbound-rtp");
  }

  /** The statistics of the transports that the user's tracks come by. */
  async transports(userId: string): Promise<Stats[]> {
    return statistics(this.remote(userId), "transport");
  }

  private picture(userId: string): HTMLVideoElement {
    const element = this.probes.get(`${userId}/camera`)?.element;
    if (!(element instanceof HTMLVideoElement)) throw new Error(`no picture of ${userId}`);
    return element;
  }

  private joined(): Room {
    if (!this.room) throw new Error("not joined");
    return this.room;
  }

  private remote(userId: string): RemoteTrackPublication[] {
    const participant = this.joined().getParticipantByIdentity(userId);
    return participant ? ([...participant.trackPublications.values()] as RemoteTrackPublication[]) : [];
  }

  private note(event: string, details: Record<string, unknown> = {}): void {
    this.events.push({ event, at: Date.now(), ...details });
  }

  private watch(room: Room): void {
    room.on(RoomEvent.TrackSubscribed, (track, publication, participant) => {
      const key = `${participant.identity}/${publication.source}`;
      this.probes.get(key)?.close();
      this.probes.set(key, new Probe(track, this.listening));
      this.note("trackSubscribed", { userId: participant.identity, source: publication.source });
    });
    room.on(RoomEvent.TrackSubscriptionFailed, (_sid, participant, reason) => {
      this.note("trackSubscriptionFailed", { userId: participant.identity, reason });
    });
    room.on(RoomEvent.TrackUnsubscribed, (_track, publication, participant) => {
      const key = `${participant.identity}/${publication.source}`;
      this.probes.get(key)?.close();
      this.probes.delete(key);
      this.note("trackUnsubscribed", { userId: participant.identity, source: publication.source });
    });
    room.on(RoomEvent.DataReceived, (payload, participant, _kind, topic) => {
      const text = new TextDecoder().decode(payload);
      this.note("dataReceived", { userId: participant?.identity, text, topic });
    });
    room.on(RoomEvent.Disconnected, (reason) => {
      this.note("disconnected", { reason: reason === undefined ? "none" : DisconnectReason[reason] });
    });
    room.on(RoomEvent.ParticipantConnected, (participant) => {
      this.note("participantConnected", { userId: participant.identity });
    });
    room.on(RoomEvent.ParticipantDisconnected, (participant) => {
      this.note("participantDisconnected", { userId: participant.identity });
    });
    room.on(RoomEvent.TrackMuted, (publication, participant) => {
      this.note("trackMuted", { userId: participant.identity, source: publication.source });
    });
    room.on(RoomEvent.TrackUnmuted, (publication, participant) => {
      this.note("trackUnmuted", { userId: participant.identity, source: publication.source });
    });
    room.on(RoomEvent.ActiveSpeakersChanged, (speakers) => {
      this.note("activeSpeakersChanged", { userIds: speakers.map((speaker) => speaker.identity) });
    });
    room.on(RoomEvent.ConnectionQualityChanged, (quality, participant) => {
      this.note("connectionQualityChanged", { userId: participant.identity, quality });
    });
    room.on(RoomEvent.SignalReconnecting, () => {
      this.note("signalReconnecting");
    });
    room.on(RoomEvent.Reconnecting, () => {
      this.note("reconnecting");
    });
    room.on(RoomEvent.Reconnected, () => {
      this.note("reconnected");
    });
  }
}

async function statistics(publications: Iterable<TrackPublication>, type: string): Promise<Stats[]> {
  const found: Stats[] = [];
  for (const publication of publications) {
    const report = await publication.track?.getRTCStatsReport();
    report?.forEach((stats: Stats) => {
      if (stats["type"] !== type) return;
      const codec = report.get(stats["codecId"] as string) as Stats | undefined;
      found.push({ ...stats, mimeType: codec?.["mimeType"], source: publication.source });
    });
  }
  return found;
}

declare global {
  interface Window {
    kit: Kit;
  }
}

window.kit = new Kit();
