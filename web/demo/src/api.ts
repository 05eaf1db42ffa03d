// What the page asks of the server. Every failure is an Error whose message can be shown.

export type RoomId = { roomId: number } | { strRoomId: string };

export interface Ticket {
  url: string;
  token: string;
}

export interface Recording {
  taskId: string;
  room: string;
  running: boolean;
  beganMs: number;
  size: number;
  mp4: string | null;
  hls: string | null;
}

interface ErrorBody {
  error?: { code: string | number; message: string };
}

export function roomLabel(room: RoomId): string {
  return "roomId" in room ? String(room.roomId) : room.strRoomId;
}

export interface Credential {
  sdkAppId: number;
  userSig: string;
}

/** From the demo server, which signs for anybody. */
export async function credentialOf(userId: string): Promise<Credential> {
  return ask<Credential>("POST", "/demo/api/user-sig", { userId });
}

/** The user's credential, then the join that any application would do. */
export async function join(userId: string, room: RoomId): Promise<Ticket> {
  const credential = await credentialOf(userId);
  return ask<Ticket>("POST", "/v1/join", { ...credential, userId, ...room });
}

export async function startRecording(room: RoomId): Promise<string> {
  const { taskId } = await ask<{ taskId: string }>("POST", "/demo/api/recordings", room);
  return taskId;
}

export async function stopRecording(taskId: string): Promise<void> {
  await ask("DELETE", `/demo/api/recordings/${encodeURIComponent(taskId)}`);
}

export async function listRecordings(): Promise<Recording[]> {
  const { recordings } = await ask<{ recordings: Recording[] }>("GET", "/demo/api/recordings");
  return recordings;
}

async function ask<T>(method: string, path: string, body?: unknown): Promise<T> {
  const init: RequestInit = { method };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { "Content-Type": "application/json" };
  }
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch {
    throw new Error("The server cannot be reached.");
  }
  const answer = (await response.json().catch(() => ({}))) as T & ErrorBody;
  if (!response.ok) {
    const { error } = answer;
    throw new Error(error ? `${error.message} (${error.code})` : `The server answered ${response.status}.`);
  }
  return answer;
}
