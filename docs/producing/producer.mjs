// Offers one file with Node.js alone, and prints the key that its fate is asked for under:
//   SLUICE_API_KEY=sluice_key-..._... SLUICE_REDIS_URL=redis://127.0.0.1:8100/0 node producer.mjs FILE INTERNAL
import { createHash, createHmac, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { basename } from "node:path";

const [file, level] = process.argv.slice(2);
const { SLUICE_API_KEY: apiKey, SLUICE_REDIS_URL: redisUrl } = process.env;

function entry(offer) {
  const keyId = apiKey.split("_")[1];
  const time = new Date().toISOString();
  const nonce = randomBytes(16).toString("hex");
  const body = JSON.stringify(offer);
  const digest = createHash("sha256").update(apiKey).digest();
  const hmac = createHmac("sha256", digest).update(`${keyId}.${time}.${nonce}.${body}`).digest("hex");
  return { nonce, data: JSON.stringify({ body, grant: { key_id: keyId, time, nonce, hmac } }) };
}

// One command in RESP, Redis's protocol; any client library does the same, and TLS and reconnecting besides.
function command(socket, ...words) {
  const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
  socket.write(`*${words.length}\r\n${parts.join("")}`);
  return new Promise((resolve, reject) => {
    socket.once("data", (reply) => (reply[0] === 45 ? reject(new Error(reply.toString().trim())) : resolve()));
    socket.once("error", reject); // 45 is "-", with which an error begins
  });
}

const offer = { name: basename(file), access_level: level, content_base64: readFileSync(file).toString("base64") };
const { nonce, data } = entry(offer);
const { hostname, port, username, password, pathname } = new URL(redisUrl);
const socket = connect(Number(port || 6379), hostname);
if (password) await command(socket, "AUTH", decodeURIComponent(username) || "default", decodeURIComponent(password));
await command(socket, "SELECT", pathname.slice(1) || "0");
await command(socket, "XADD", "documents.offered.v1", "*", "__data__", data);
socket.end();
console.log(nonce);
