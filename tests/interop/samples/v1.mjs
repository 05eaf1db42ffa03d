// The documents' Node sample of signature v1: prints the URL of a GET request signed with HmacSHA1.
// Only what a program has to fill in, and http for https, differs; it comes as JSON on the command line. What it
// calls escape() leaves a plus of the signature as it is.
import crypto from "node:crypto";
import { Buffer } from "node:buffer";
const given = JSON.parse(process.argv[2]);

function get_req_url(params, endpoint) {
  params["Signature"] = escape(params["Signature"]);
  const url_strParam = sort_params(params);
  return "http://" + endpoint + "/?" + url_strParam.slice(1);
}

function formatSignString(reqMethod, endpoint, path, strParam) {
  return reqMethod + endpoint + path + "?" + strParam.slice(1);
}

function sha1(secretKey, strsign) {
  const signMethodMap = { HmacSHA1: "sha1" };
  const hmac = crypto.createHmac(signMethodMap["HmacSHA1"], secretKey || "");
  return hmac.update(Buffer.from(strsign, "utf8")).digest("base64");
}

function sort_params(params) {
  let strParam = "";
  const keys = Object.keys(params);
  keys.sort();
  for (const k in keys) {
    strParam += "&" + keys[k] + "=" + params[keys[k]];
  }
  return strParam;
}

for (;;) {
  const params = Object.assign({}, given.params);
  params["Action"] = given.action;
  params["Nonce"] = Math.round(Math.random() * 65535);
  params["Region"] = given.region;
  params["SecretId"] = given.secret_id;
  params["Timestamp"] = Math.round(Date.now() / 1000);
  params["Version"] = given.version;
  const strSign = formatSignString("GET", given.host, "/", sort_params(params));
  params["Signature"] = sha1(given.secret_key, strSign);
  if (given.with_plus && !params["Signature"].includes("+")) continue;
  console.log(get_req_url(params, given.host));
  break;
}
