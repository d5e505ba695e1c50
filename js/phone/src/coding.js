// Captured samples become the frames that travel: cut or coded as the level of sending says (phone/coding.py).

import { cut } from "./capture.js";
import { FLAG_LAST, FLAG_PRESENCE, FLAG_REPAIR, NO_SAMPLES, OPUS_PACKET, SAMPLE_RATE, stopOf } from "./frames.js";
import { encodeOpus, encodePcm, madeBy } from "./frames.js";
import { RULES } from "./rules.js";

/** @typedef {import("./frames.js").Frame} Frame */
/** @typedef {import("./capture.js").Capture} Capture */
/** @typedef {import("./sending_levels.js").Level} Level */

/**
 * @typedef {object} OpusEncoder One stream of Opus: 16 kHz, mono, packets of 20 ms.
 * @property {(samples: Int16Array) => Promise<Uint8Array>} encode 320 samples; answers in order
 * @property {() => void} close
 */
/** @typedef {(bitRate: number) => OpusEncoder} OpusFactory */

/**
 * @typedef {Frame & {stop: number, packets: Uint8Array[], earlier: Uint8Array[], encoder: number}} Outgoing
 * One frame for the wire; `encoder` is the number of the one that made all of its packets.
 */

const { MAX_COPIES, REPAIR_MS } = RULES.constants.coding;

/**
 * @param {Frame} frame
 * @returns {Outgoing}
 */
export const outgoing = (frame) => ({ ...frame, stop: stopOf(frame), packets: [], earlier: [], encoder: 0 });

/**
 * The bytes of a frame; of Opus with so many packets before it again, where there are any.
 * @param {Outgoing} frame
 * @param {number} copies
 */
export function encoded(frame, copies = 0) {
  if (!frame.packets.length) return encodePcm(frame);
  const again = copies ? frame.earlier.slice(-copies) : [];
  const shift = again.length * OPUS_PACKET;
  const position = frame.position - shift;
  const capturedUs = Math.max(0, frame.capturedUs - Math.floor((shift * 1_000_000) / SAMPLE_RATE));
  const flags = madeBy(frame.encoder, frame.flags);
  return encodeOpus({ ...frame, flags, position, capturedUs }, [...again, ...frame.packets], frame.stop - position);
}

/**
 * The bytes of its payload, without copies.
 * @param {Outgoing} frame
 */
export const sizeOf = (frame) =>
  frame.packets.length ? frame.packets.reduce((sum, packet) => sum + packet.length, 0) : 2 * frame.samples.length;

/**
 * The samples [start, stop) counted from the frame's own first; `last` stays with its end.
 * @param {Frame} frame
 * @param {number} start
 * @param {number} stop
 */
function part(frame, start, stop) {
  const flags = stop === frame.samples.length ? frame.flags : frame.flags & ~FLAG_LAST;
  return { ...cut(frame, frame.position + start, frame.position + stop), flags };
}

/**
 * @param {Frame} frame
 * @param {number} frameMs
 */
function cutPcm(frame, frameMs) {
  const size = (frameMs * SAMPLE_RATE) / 1000 || frame.samples.length;
  const parts = [];
  for (let at = 0; at < frame.samples.length; at += size) {
    parts.push(outgoing(part(frame, at, Math.min(at + size, frame.samples.length))));
  }
  return parts;
}

/**
 * @param {Int16Array} first
 * @param {Int16Array} second
 */
function joinedSamples(first, second) {
  const samples = new Int16Array(first.length + second.length);
  samples.set(first);
  samples.set(second, first.length);
  return samples;
}

// Of one capture: keeps its encoder and what does not fill a packet yet. Calls must not overlap. The encoder begins anew,
// under a new number, where positions do not go on and when its bit rate changes.
export class Coder {
  /**
   * @param {OpusFactory | null} opus
   * @param {Capture} capture
   */
  constructor(opus, capture) {
    this.opus = opus;
    this.capture = capture;
    this.number = 0; // of the encoder
    /** @type {OpusEncoder | null} */
    this.encoder = null;
    this.bitRate = 0;
    /** @type {Frame | null} Samples that wait for more, to fill a packet. */
    this.rest = null;
    /** @type {Uint8Array[]} */
    this.earlier = [];
    this.stop = -1; // the position after the last packet that was coded
  }

  /**
   * The frames for these samples and those that waited; `last` leaves nothing waiting.
   * @param {Frame} frame
   * @param {Level} level
   */
  async code(frame, level) {
    const { rest } = this;
    this.rest = null;
    if (level.coding === "pcm") {
      return [...(rest ? [rest] : []), frame].flatMap((whole) => cutPcm(whole, level.frameMs));
    }
    if (rest) frame = { ...rest, flags: frame.flags, samples: joinedSamples(rest.samples, frame.samples) };
    return this.code_(frame, level, Boolean(frame.flags & FLAG_LAST));
  }

  /**
   * What waits, filled up with silence.
   * @param {Level} level
   */
  async flush(level) {
    const { rest } = this;
    this.rest = null;
    return rest ? this.code_(rest, level, true) : [];
  }

  /**
   * @param {Frame} frame
   * @param {Level} level
   * @param {boolean} whole
   * @returns {Promise<Outgoing[]>}
   */
  async code_(frame, level, whole) {
    const all = frame.samples.length;
    const length = whole ? all : all - (all % OPUS_PACKET);
    this.rest = length < all ? part(frame, length, all) : null;
    if (this.encoder === null || frame.position !== this.stop || level.bitRate !== this.bitRate) {
      this.begin(level.bitRate);
    }
    const step = Math.max(1, Math.floor(level.frameMs / 20)) * OPUS_PACKET;
    /** @type {Outgoing[]} */
    const out = [];
    for (let start = 0; start < length; start += step) {
      const one = part(frame, start, Math.min(start + step, length));
      const packets = await this.packets(one.samples);
      out.push({ ...one, stop: stopOf(one), packets, earlier: this.earlier, encoder: this.number });
      this.earlier = one.samples.length % OPUS_PACKET ? [] : [...this.earlier, ...packets].slice(-MAX_COPIES);
      this.stop = stopOf(one);
    }
    return out;
  }

  /** @param {number} bitRate */
  begin(bitRate) {
    this.encoder?.close();
    this.encoder = /** @type {OpusFactory} */ (this.opus)(bitRate);
    this.number = this.capture.nextEncoder();
    this.bitRate = bitRate;
    this.earlier = [];
  }

  /** @param {Int16Array} samples */
  packets(samples) {
    const encoder = /** @type {OpusEncoder} */ (this.encoder);
    const blocks = [];
    for (let at = 0; at < samples.length; at += OPUS_PACKET) {
      const block = new Int16Array(OPUS_PACKET);
      block.set(samples.subarray(at, at + OPUS_PACKET));
      blocks.push(encoder.encode(block));
    }
    return Promise.all(blocks);
  }

  close() {
    this.encoder?.close();
    this.encoder = null;
  }
}

/**
 * Frames that carry these samples again. `coder` is another one than that of what is live, which goes on.
 * @param {Frame} frame
 * @param {Level} level
 * @param {Coder} coder
 * @param {number} flags
 */
async function repair(frame, level, coder, flags = FLAG_REPAIR) {
  const coded =
    level.coding === "pcm"
      ? cutPcm(frame, level.frameMs)
      : await coder.code({ ...frame, flags: FLAG_LAST }, { ...level, frameMs: REPAIR_MS });
  return coded.map((one) => ({ ...one, flags }));
}

/**
 * The same for several. What goes on from one to the next is coded as a whole: only its last packet is filled up with
 * silence, however short the frames were.
 * @param {Frame[]} frames
 * @param {Level} level
 * @param {Coder} coder
 * @param {number} [flags]
 */
export async function repaired(frames, level, coder, flags) {
  /** @type {Outgoing[]} */
  const out = [];
  for (const frame of level.coding === "pcm" ? frames : joined(frames)) {
    out.push(...(await repair(frame, level, coder, flags)));
  }
  return out;
}

/**
 * What waits, however it is coded, as `level` wants it: made anew from what was captured. Acknowledged samples and
 * presence frames are left out.
 * @param {Outgoing[]} waiting
 * @param {Capture} capture
 * @param {Level} level
 * @param {Coder} coder
 */
export async function recoded(waiting, capture, level, coder) {
  const spoken = waiting.filter((frame) => !(frame.flags & FLAG_PRESENCE));
  const again = [];
  for (const frame of joined(spoken.flatMap((one) => capture.part(one, one.stop)))) {
    again.push(...(await repair(frame, level, coder, frame.flags)));
  }
  return again;
}

/**
 * As few long frames: each as long as its positions go on, and what it says beside them but for its end.
 * @param {Frame[]} frames
 */
function joined(frames) {
  /** @type {Frame[]} */
  const out = [];
  for (const frame of frames) {
    const former = out.at(-1);
    if (former && ((former.flags ^ frame.flags) & ~FLAG_LAST) === 0 && stopOf(former) === frame.position) {
      out[out.length - 1] = {
        ...former,
        flags: frame.flags,
        samples: joinedSamples(former.samples, frame.samples),
      };
    } else {
      out.push(frame);
    }
  }
  return out;
}

/**
 * A presence frame as it travels.
 * @param {Frame} frame
 */
export const present = (frame) => outgoing({ ...frame, samples: NO_SAMPLES });
