// What the first socket has carried in vain since it fell silent: the second socket gets it, each sample once
// (phone/beside.py).

import { OPUS_PACKET, stopOf } from "./frames.js";
import { isDoubtful } from "./routes.js";
import { RULES } from "./rules.js";

/** @typedef {import("./frames.js").Frame} Frame */

const { FRESH_EVERY } = RULES.constants.beside;

export class Unheard {
  /**
   * @param {() => number} clock
   * @param {import("./capture.js").Capture} capture
   */
  constructor(clock, capture) {
    this.clock = clock;
    this.capture = capture;
    this.epoch = capture.epoch;
    this.stop = 0; // up to where it was given
    this.dueAt = 0;
  }

  /**
   * What goes by the second socket now; null: the first is not silent.
   * @param {number} silent seconds
   * @param {number} trip
   * @returns {Frame[] | null}
   */
  take(silent, trip) {
    if (!isDoubtful(silent, trip)) return null;
    const now = this.clock();
    if (now < this.dueAt) return [];
    this.dueAt = now + FRESH_EVERY;
    if (this.epoch !== this.capture.epoch) [this.epoch, this.stop] = [this.capture.epoch, 0];
    const fresh = this.capture.newest(silent + trip).filter(({ position }) => position >= this.stop);
    // Only whole packets: one that is filled up with silence is heard as a click.
    let length = fresh.reduce((sum, { samples }) => sum + samples.length, 0);
    while (length % OPUS_PACKET) length -= /** @type {Frame} */ (fresh.pop()).samples.length;
    if (fresh.length) this.stop = stopOf(fresh[fresh.length - 1]);
    return fresh;
  }
}
