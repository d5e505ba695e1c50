// The frames on the wire, by the vectors that every phone is tested with (docs/protocol/vectors).

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { encodeOpus, encodePcm, encodePlain, madeBy, NO_SAMPLES } from "../src/frames.js";
import { RULES } from "../src/rules.js";

const FILE = new URL("../../../docs/protocol/vectors/frames.json", import.meta.url);
const { FLAG_REPLAYED, FLAG_PRESENCE, FLAG_LAST, FLAG_REPAIR } = RULES.constants.audio_frames;
const FLAGS = { replayed: FLAG_REPLAYED, presence: FLAG_PRESENCE, last: FLAG_LAST, repair: FLAG_REPAIR };

const hex = (bytes) => Buffer.from(bytes).toString("hex");
const bytes = (text) => Uint8Array.from(Buffer.from(text, "hex"));
const vectors = existsSync(FILE) ? JSON.parse(readFileSync(FILE, "utf8")).good : [];

function encode({ epoch, position, capture_time_us, flags, coding, samples, pcm, packets, encoder }) {
  const bits = madeBy(encoder ?? 0, flags.reduce((all, name) => all | FLAGS[name], 0));
  const number = { epoch, position: Number(position), capturedUs: Number(capture_time_us), flags: bits };
  if (coding === 1 && packets?.length) return encodeOpus(number, packets.map(bytes), samples);
  return encodePcm({ ...number, samples: pcm ? new Int16Array(bytes(pcm).buffer) : NO_SAMPLES });
}

// A presence frame of ours says coding 0, whatever we code in; reserved flags and numbers past 2^53 we never send.
const ours = vectors.filter(
  ({ name, means }) =>
    name !== "reserved flags are ignored" &&
    !(means.coding === 1 && !means.packets?.length) &&
    [means.position, means.capture_time_us].every((number) => Number(number) <= Number.MAX_SAFE_INTEGER),
);

test("there are vectors", { skip: existsSync(FILE) ? false : `there is no ${FILE.pathname}` }, () => {
  assert.ok(ours.length >= 12, `${ours.length} of ${vectors.length}`);
});

for (const { name, frame, means } of ours) {
  test(`vector: ${name}`, () => assert.equal(hex(encode(means)), frame));
}

test("audio without numbers", () => {
  const samples = Int16Array.from([1, -2]);
  assert.equal(hex(encodePlain(samples)), "0100feff");
  assert.equal(hex(encodePlain(samples, 255)), "ff0100feff");
});
