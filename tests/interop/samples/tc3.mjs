// The documents' Node sample of TC3-HMAC-SHA256: prints the curl command of a signed request.
// Only what a program has to fill in, and http for https, differs; it comes as JSON on the command line.
import crypto from "node:crypto";
const given = JSON.parse(process.argv[2]);

function sha256(message, secret = "", encoding) {
  const hmac = crypto.createHmac("sha256", secret);
  return hmac.update(message).digest(encoding);
}

function getHash(message, encoding = "hex") {
  const hash = crypto.createHash("sha256");
  return hash.update(message).digest(encoding);
}

function getDate(timestamp) {
  const date = new Date(timestamp * 1000);
  const year = date.getUTCFullYear();
  const month = ("0" + (date.getUTCMonth() + 1)).slice(-2);
  const day = ("0" + date.getUTCDate()).slice(-2);
  return `${year}-${month}-${day}`;
}

const SECRET_ID = given.secret_id;
const SECRET_KEY = given.secret_key;
const endpoint = given.host;
const service = given.service;
const region = given.region;
const action = given.action;
const version = given.version;
const timestamp = Math.floor(Date.now() / 1000);
const date = getDate(timestamp);

// 1: the canonical request
const signedHeaders = "content-type;host";
const payload = JSON.stringify(given.params);
const hashedRequestPayload = getHash(payload);
const httpRequestMethod = "POST";
const canonicalUri = "/";
const canonicalQueryString = "";
const canonicalHeaders = "content-type:application/json; charset=utf-8\n" + "host:" + endpoint + "\n";
const canonicalRequest =
  httpRequestMethod +
  "\n" +
  canonicalUri +
  "\n" +
  canonicalQueryString +
  "\n" +
  canonicalHeaders +
  "\n" +
  signedHeaders +
  "\n" +
  hashedRequestPayload;

// 2: the string to sign
const algorithm = "TC3-HMAC-SHA256";
const hashedCanonicalRequest = getHash(canonicalRequest);
const credentialScope = date + "/" + service + "/" + "tc3_request";
const stringToSign = algorithm + "\n" + timestamp + "\n" + credentialScope + "\n" + hashedCanonicalRequest;

// 3: the signature
const kDate = sha256(date, "TC3" + SECRET_KEY);
const kService = sha256(service, kDate);
const kSigning = sha256("tc3_request", kService);
const signature = sha256(stringToSign, kSigning, "hex");

// 4: the header
const authorization =
  algorithm +
  " " +
  "Credential=" +
  SECRET_ID +
  "/" +
  credentialScope +
  ", " +
  "SignedHeaders=" +
  signedHeaders +
  ", " +
  "Signature=" +
  signature;

console.log(
  "curl -X POST " +
    "http://" +
    endpoint +
    ' -H "Authorization: ' +
    authorization +
    '"' +
    ' -H "Content-Type: application/json; charset=utf-8"' +
    ' -H "Host: ' +
    endpoint +
    '"' +
    ' -H "X-TC-Action: ' +
    action +
    '"' +
    ' -H "X-TC-Timestamp: ' +
    timestamp.toString() +
    '"' +
    ' -H "X-TC-Version: ' +
    version +
    '"' +
    ' -H "X-TC-Region: ' +
    region +
    '"' +
    " -d '" +
    payload +
    "'",
);
