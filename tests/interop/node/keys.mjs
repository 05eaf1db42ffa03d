// Makes the UserSigs and PrivateMapKeys that it reads as JSON from stdin with the official Node library, and prints them
// as a JSON list. Each is a dict: sdk_app_id, secret_key, user_id, expire_s, and for a PrivateMapKey room_id (a number
// or a string) and permissions.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(import.meta.url);
const { Api } = require("tls-sig-api-v2");

const wanted = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(wanted.map(make)));

function make({ sdk_app_id, secret_key, user_id, expire_s, room_id, permissions }) {
  const maker = new Api(sdk_app_id, secret_key);
  if (room_id === undefined) return maker.genUserSig(user_id, expire_s);
  return typeof room_id === "number"
    ? maker.genPrivateMapKey(user_id, expire_s, room_id, permissions)
    : maker.genPrivateMapKeyWithStringRoomID(user_id, expire_s, room_id, permissions);
}
