// Makes the calls that it reads as JSON from stdin with the official Node SDK, one after the other, and prints their
// outcomes as JSON: what an existing program would see. The clock and the random numbers can be fixed, which makes
// tests/vectors/make_signatures.py use the same program.
import { createRequire } from "node:module";
import { Agent } from "node:http";
import { readFileSync } from "node:fs";

const require = createRequire(import.meta.url);
const { CommonClient } = require("tencentcloud-sdk-nodejs-common");
const { sts } = require("tencentcloud-sdk-nodejs-sts");

const RealDate = Date;
const realRandom = Math.random;
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const { proxy, calls } = JSON.parse(readFileSync(0, "utf8"));
const outcomes = [];
for (const call of calls) {
  fix(call);
  outcomes.push(await outcome(call));
}
agent.destroy();
process.stdout.write(JSON.stringify(outcomes));

function fix({ now_s: now, random }) {
  Math.random = random === undefined ? realRandom : () => random;
  globalThis.Date =
    now === undefined
      ? RealDate
      : class extends RealDate {
          constructor(...given) {
            super(...(given.length ? given : [now * 1000]));
          }
          static now() {
            return now * 1000;
          }
        };
}

async function outcome(call) {
  const options = {
    credential: { secretId: call.secret_id, secretKey: call.secret_key, token: call.token ?? null },
    region: call.region ?? null,
    profile: {
      signMethod: call.sign_method ?? "TC3-HMAC-SHA256",
      language: call.language,
      httpProfile: {
        reqMethod: call.method ?? "POST",
        protocol: "http://",
        endpoint: call.endpoint,
        ...(proxy ? { proxy } : { agent }),
      },
    },
  };
  try {
    if (call.service === "sts")
      return { response: await new sts.v20180813.Client(options)[call.action](call.parameters) };
    const client = new CommonClient(call.endpoint, call.version, options);
    const response = await client.request(call.action, call.parameters, {
      multipart: call.multipart ?? false,
    });
    return { response };
  } catch (error) {
    return { error: { code: error.code ?? "", message: error.message, request_id: error.requestId ?? "" } };
  }
}
