// Everything of livekit-client besides media that tests ask for, as `window.kit.features`: what one says of oneself,
// who may receive, streams, calls between participants, and what a program does that asks nobody whether it may.

import {
  type LocalParticipant,
  type Participant,
  RemoteTrackPublication,
  type Room,
  RoomEvent,
  Track,
} from "livekit-client";
import { Source, type SourceOptions } from "./Source";

export type Note = (event: string, details?: Record<string, unknown>) => void;

interface Permission {
  userId: string;
  all?: boolean;
  sids?: string[];
}

export interface Described {
  name: string | undefined;
  metadata: string | undefined;
  attributes: Record<string, string>;
  canPublish: boolean | undefined;
  canSubscribe: boolean | undefined;
  canPublishData: boolean | undefined;
  sources: number[];
  tracks: { sid: string; source: string; muted: boolean; subscribed: boolean; status: string }[];
}

// What the package's types leave out.
interface Insides {
  hasPermissionsToPublish: () => boolean;
}
interface Engine {
  pcManager?: {
    addPublisherTransceiver(track: MediaStreamTrack, init: RTCRtpTransceiverInit): unknown;
  };
  negotiate(): Promise<void>;
}

export class Features {
  constructor(
    private readonly room: Room,
    private readonly note: Note,
  ) {
    this.watch();
  }

  private get own(): LocalParticipant {
    return this.room.localParticipant;
  }

  // Each answers "" when it was granted, else what went wrong as livekit-client says it.

  setMetadata(metadata: string): Promise<string> {
    return outcome(this.own.setMetadata(metadata));
  }

  setName(name: string): Promise<string> {
    return outcome(this.own.setName(name));
  }

  setAttributes(attributes: Record<string, string>): Promise<string> {
    return outcome(this.own.setAttributes(attributes));
  }

  /** Publishes a source and tells how that went and how long it took. */
  async tryPublish(source: Track.Source, options: Partial<SourceOptions> = {}): Promise<[string, number]> {
    const began = performance.now();
    const made = small(options);
    const track = isSound(source) ? made.audio : made.video;
    const problem = await outcome(this.own.publishTrack(track, { source, simulcast: false }));
    return [problem, performance.now() - began];
  }

  /** livekit's own tracks of data, which this server does not have. */
  tryDataTrack(name: string): Promise<string> {
    return outcome(this.own.publishDataTrack({ name }));
  }

  /** Sends these whatever the permissions say: announced as they are, and once more without any word. */
  async publishAnyway(sources: Track.Source[]): Promise<void> {
    (this.own as unknown as Insides).hasPermissionsToPublish = () => true;
    const engine = this.room.engine as unknown as Engine;
    for (const source of sources) {
      const made = small({});
      const track = isSound(source) ? made.audio : made.video;
      void outcome(this.own.publishTrack(track, { source, simulcast: false, backupCodec: false }));
      engine.pcManager?.addPublisherTransceiver(track.clone(), {
        direction: "sendonly",
        streams: [new MediaStream()],
      });
    }
    await engine.negotiate();
  }

  describe(userId = ""): Described | null {
    const participant: Participant | undefined = userId ? this.room.remoteParticipants.get(userId) : this.own;
    if (!participant) return null;
    return {
      name: participant.name,
      metadata: participant.metadata,
      attributes: { ...participant.attributes },
      canPublish: participant.permissions?.canPublish,
      canSubscribe: participant.permissions?.canSubscribe,
      canPublishData: participant.permissions?.canPublishData,
      sources: participant.permissions?.canPublishSources ?? [],
      tracks: [...participant.trackPublications.values()].map((publication) => ({
        sid: publication.trackSid,
        source: publication.source,
        muted: publication.isMuted,
        subscribed: publication.isSubscribed,
        status: publication instanceof RemoteTrackPublication ? publication.permissionStatus : "own",
      })),
    };
  }

  roomMetadata(): string | undefined {
    return this.room.metadata;
  }

  speakers(): string[] {
    return this.room.activeSpeakers.map((participant) => participant.identity);
  }

  quality(userId: string): string | undefined {
    return this.room.getParticipantByIdentity(userId)?.connectionQuality;
  }

  allow(everybody: boolean, permissions: Permission[] = []): void {
    const given = permissions.map(({ userId, all = false, sids = [] }) => ({
      participantIdentity: userId,
      allowAll: all,
      allowedTrackSids: sids,
    }));
    this.own.setTrackSubscriptionPermissions(everybody, given);
  }

  setDimensions(userId: string, width: number, height: number): void {
    this.videos(userId, (publication) => {
      publication.setVideoDimensions({ width, height });
    });
  }

  setEnabled(userId: string, enabled: boolean): void {
    this.videos(userId, (publication) => {
      publication.setEnabled(enabled);
    });
  }

  /** Notes each stream of the topic when it is whole. */
  receiveStreams(topic: string): void {
    this.room.registerTextStreamHandler(topic, async (reader, { identity }) => {
      const text = await reader.readAll();
      this.note("textStream", { userId: identity, topic, text, attributes: reader.info.attributes });
    });
    this.room.registerByteStreamHandler(topic, async (reader, { identity }) => {
      const parts = await reader.readAll();
      const bytes = new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
      const sum = bytes.reduce((total, byte) => (total + byte) % 65521, 0);
      this.note("byteStream", { userId: identity, topic, name: reader.info.name, size: bytes.length, sum });
    });
  }

  async sendText(text: string, topic: string, to: string[] = []): Promise<void> {
    await this.own.sendText(text, { topic, destinationIdentities: to, attributes: { kind: "test" } });
  }

  async sendFile(size: number, topic: string, to: string[] = []): Promise<void> {
    const bytes = Uint8Array.from({ length: size }, (_, index) => index % 251);
    await this.own.sendFile(new File([bytes], "test.bin"), { topic, destinationIdentities: to });
  }

  /** From now on ``method`` answers its payload in capitals, with the caller's name. */
  answerCalls(method: string): void {
    this.room.registerRpcMethod(method, ({ callerIdentity, payload }) =>
      Promise.resolve(`${callerIdentity}: ${payload.toUpperCase()}`),
    );
  }

  call(to: string, method: string, payload: string): Promise<string> {
    return this.own.performRpc({ destinationIdentity: to, method, payload });
  }

  async sendMany(count: number, topic: string, size = 4): Promise<void> {
    for (let index = 0; index < count; index++) {
      const data = new TextEncoder().encode(String(index).padStart(size, "0"));
      await this.own.publishData(data, { reliable: true, topic });
    }
  }

  private videos(userId: string, act: (publication: RemoteTrackPublication) => void): void {
    const participant = this.room.remoteParticipants.get(userId);
    for (const publication of participant?.trackPublications.values() ?? []) {
      if (publication.kind === Track.Kind.Video) act(publication);
    }
  }

  private watch(): void {
    const { room, note } = this;
    room.on(RoomEvent.ParticipantMetadataChanged, (_before, participant) => {
      note("metadataChanged", { userId: participant.identity, metadata: participant.metadata });
    });
    room.on(RoomEvent.ParticipantNameChanged, (name, participant) => {
      note("nameChanged", { userId: participant.identity, name });
    });
    room.on(RoomEvent.ParticipantAttributesChanged, (changed, participant) => {
      note("attributesChanged", { userId: participant.identity, changed });
    });
    room.on(RoomEvent.ParticipantPermissionsChanged, (_before, participant) => {
      note("permissionsChanged", {
        userId: participant.identity,
        canPublish: participant.permissions?.canPublish,
        sources: participant.permissions?.canPublishSources,
      });
    });
    room.on(RoomEvent.RoomMetadataChanged, (metadata) => {
      note("roomMetadataChanged", { metadata });
    });
    room.on(RoomEvent.LocalTrackUnpublished, (publication) => {
      note("localTrackUnpublished", { source: publication.source });
    });
    room.on(RoomEvent.TrackSubscriptionPermissionChanged, (publication, status, participant) => {
      note("subscriptionPermission", { userId: participant.identity, source: publication.source, status });
    });
  }
}

function small(options: Partial<SourceOptions>): Source {
  return new Source({
    color: "#d02020",
    flash: false,
    hz: 440,
    width: 320,
    height: 180,
    fps: 15,
    ...options,
  });
}

function isSound(source: Track.Source): boolean {
  return source === Track.Source.Microphone || source === Track.Source.ScreenShareAudio;
}

async function outcome(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return "";
  } catch (error) {
    const { reasonName } = error as { reasonName?: string };
    return `${reasonName ? `${reasonName}: ` : ""}${(error as Error).message}`;
  }
}
