// What went by the track lately (phone/track_tail.py). A track has no numbers: nobody says what of it arrived. Where its
// path dies, what was not heard goes once more, by the WebSocket.

import { SAMPLE_RATE } from "./frames.js";
import { RULES } from "./rules.js";

/** @typedef {import("./frames.js").Frame} Frame */

const KEPT = (RULES.constants.track_tail.KEPT_MS * SAMPLE_RATE) / 1000; // samples
const PIECE = RULES.constants.track_tail.PIECE / 2;

export class TrackTail {
  constructor() {
    /** @type {Frame[]} */
    this.frames = [];
    this.length = 0;
  }

  /** It went by the track. @param {Frame} frame */
  note(frame) {
    this.frames.push(frame);
    this.length += frame.samples.length;
    while (this.length > KEPT) this.length -= /** @type {Frame} */ (this.frames.shift()).samples.length;
  }

  /**
   * What of it was captured since then, in pieces of 100 ms at most; nothing is kept.
   * @param {number} sinceUs
   */
  take(sinceUs) {
    const pieces = [];
    for (const { capturedUs, samples } of this.frames) {
      const skip = Math.floor((Math.max(0, sinceUs - capturedUs) * SAMPLE_RATE) / 1_000_000);
      for (let at = skip; at < samples.length; at += PIECE) pieces.push(samples.subarray(at, at + PIECE));
    }
    this.frames = [];
    this.length = 0;
    return pieces;
  }
}
