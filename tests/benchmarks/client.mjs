// The plain Node script: `ws`, JSON.parse, Buffer, one WAV a stream. node client.mjs PORT STREAMS FOLDER [capture]
// With `capture` it keeps every media message as well, as a line with the time and the channel: the work that rtms does.

import { createWriteStream } from "node:fs";
import WebSocket from "ws";

const [port, streams, folder, capture] = process.argv.slice(2);
const options = { perMessageDeflate: false, maxPayload: 1 << 28 };

function wavHeader() {
  const header = Buffer.alloc(44);
  header.write("RIFF", 0);
  header.write("WAVEfmt ", 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(16000, 24);
  header.writeUInt32LE(32000, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write("data", 36);
  return header;
}

function one(number) {
  return new Promise((resolve, reject) => {
    const ids = { protocol_version: 1, meeting_uuid: `u${number}`, rtms_stream_id: `${number}`, signature: "0" };
    const sound = createWriteStream(`${folder}/${number}.wav`);
    const video = createWriteStream(`${folder}/${number}.video`);
    const kept = capture ? createWriteStream(`${folder}/${number}.jsonl`) : null;
    const opened = performance.now();
    sound.write(wavHeader());
    let count = 0;
    const signaling = new WebSocket(`ws://127.0.0.1:${port}/signaling/${number}`, options);
    signaling.on("open", () => signaling.send(JSON.stringify({ msg_type: 1, ...ids })));
    signaling.on("error", reject);
    signaling.on("message", (raw) => {
      const message = JSON.parse(raw);
      if (message.msg_type === 12) {
        signaling.send(JSON.stringify({ ...message, msg_type: 13 }));
      } else if (message.msg_type === 2) {
        const media = new WebSocket(message.media_server.server_urls.all, options);
        media.on("open", () => media.send(JSON.stringify({ msg_type: 3, media_type: 32, ...ids })));
        media.on("error", reject);
        media.on("message", (packet) => {
          if (kept) {
            const at = ((performance.now() - opened) / 1000).toFixed(6);
            kept.write(`{"at": ${at}, "ch": "media", "dir": "in", "data": `);
            kept.write(packet);
            kept.write("}\n");
          }
          const { msg_type, content } = JSON.parse(packet);
          if (msg_type === 4) {
            signaling.send(JSON.stringify({ msg_type: 7, rtms_stream_id: `${number}` }));
            return;
          }
          count += 1;
          if (msg_type === 14) sound.write(Buffer.from(content.data, "base64"));
          else if (msg_type === 15 || msg_type === 16) video.write(Buffer.from(content.data, "base64"));
        });
        signaling.media = media;
      } else if (message.msg_type === 8) {
        signaling.media.close();
        signaling.close();
        sound.end();
        kept?.end();
        video.end(() => resolve(count));
      }
    });
  });
}

const before = process.cpuUsage();
const started = performance.now();
const counts = await Promise.all(Array.from({ length: Number(streams) }, (_, number) => one(number)));
const { user, system } = process.cpuUsage(before);
console.log(
  JSON.stringify({
    messages: counts.reduce((sum, count) => sum + count, 0),
    cpu_s: (user + system) / 1e6,
    wall_s: (performance.now() - started) / 1000,
    peak_mb: process.resourceUsage().maxRSS / 1024,
  }),
);
process.exit(0);
