// The demo page: joins rooms (several at once, one tab each), and lists the recordings.

import type { RoomId } from "./api";
import { Call } from "./Call";
import { alertUser, find, make } from "./dom";
import { RecordingList } from "./RecordingList";

const LARGEST_ROOM_ID = 4294967294;

const form = find("join", HTMLFormElement);
const tabs = find("tabs", HTMLElement);
const rooms = find("rooms", HTMLDivElement);
const recordings = new RecordingList();
const calls = new Map<Call, HTMLButtonElement>();
const another = make("button", { type: "button", role: "tab" }, "+ Join a room");
another.addEventListener("click", () => {
  show(null);
});
tabs.append(another);

const nameField = form.elements.namedItem("userId") as HTMLInputElement;
nameField.value = sessionStorage.getItem("userId") ?? `guest_${Math.floor(Math.random() * 10000)}`;
show(null);

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const submit = form.querySelector("button");
  submit?.setAttribute("disabled", "");
  enter(new FormData(form))
    .catch(alertUser)
    .finally(() => submit?.removeAttribute("disabled"));
});

async function enter(fields: FormData): Promise<void> {
  alertUser("");
  const userId = text(fields, "userId");
  sessionStorage.setItem("userId", userId);
  const call = new Call(userId, parseRoom(text(fields, "room"), text(fields, "kind")), {
    left: (reason) => {
      forget(call);
      alertUser(reason);
    },
    recordingChanged: () => {
      void recordings.refresh();
    },
  });
  await call.start(fields.has("microphone"), fields.has("camera"));
  const tab = make("button", { type: "button", role: "tab" }, `Room ${call.label}`);
  tab.addEventListener("click", () => {
    show(call);
  });
  calls.set(call, tab);
  another.before(tab);
  rooms.append(call.element);
  show(call);
}

function text(fields: FormData, name: string): string {
  const value = fields.get(name);
  return typeof value === "string" ? value.trim() : "";
}

function parseRoom(room: string, kind: string): RoomId {
  if (kind === "string") return { strRoomId: room };
  const roomId = Number(room);
  if (!Number.isInteger(roomId) || roomId < 1 || roomId > LARGEST_ROOM_ID) {
    throw new Error(`A numeric room id is 1 to ${LARGEST_ROOM_ID}; choose "a text" for other ids.`);
  }
  return { roomId };
}

function forget(call: Call): void {
  calls.get(call)?.remove();
  calls.delete(call);
  call.element.remove();
  show([...calls.keys()].at(-1) ?? null);
}

/** One call, or the form when null. */
function show(chosen: Call | null): void {
  form.hidden = chosen !== null;
  another.setAttribute("aria-selected", String(chosen === null));
  for (const [call, tab] of calls) {
    call.element.hidden = call !== chosen;
    tab.setAttribute("aria-selected", String(call === chosen));
  }
}

window.addEventListener("pagehide", () => {
  for (const call of calls.keys()) void call.leave();
});
