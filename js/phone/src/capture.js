// The microphone's side of numbered audio: numbers what is captured, keeps it until the cloud has it (phone/capture.py).

import { ENCODERS, FLAG_LAST, FLAG_PRESENCE, FLAG_REPLAYED, NO_SAMPLES, SAMPLE_RATE, stopOf } from "./frames.js";
import { RULES } from "./rules.js";

/** @typedef {import("./frames.js").Frame} Frame */
/** @typedef {import("./frames.js").FrameNumber} FrameNumber */

const KEPT_SAMPLES = RULES.constants.capture.KEPT_BYTES / 2;

export class Capture {
  /**
   * @param {() => number} clock seconds
   * @param {number} epoch
   */
  constructor(clock, epoch) {
    this.clock = clock;
    this.epoch = epoch;
    /** @type {number | null} */
    this.following = null;
    this.position = 0;
    this.acknowledged = 0;
    this.lost = 0; // samples before `acknowledged` that the cloud has given up and not got since
    /** @type {Frame[]} What the cloud may not have, the oldest first; 90 s at most. */
    this.kept = [];
    this.keptSamples = 0;
    /** @type {[number, number][]} */
    this.wanted = [];
    this.encoders = 0; // that were numbered
  }

  // A number for one more encoder of what was captured: it comes again when all the others were given.
  nextEncoder() {
    this.encoders = (this.encoders % (ENCODERS - 1)) + 1;
    return this.encoders;
  }

  /**
   * Numbers samples that were just captured, the first of them at `capturedUs`.
   * @param {Int16Array} samples
   * @param {number} capturedUs
   * @param {boolean} last the microphone goes off after them
   * @returns {Frame}
   */
  take(samples, capturedUs, last = false) {
    const { epoch, position } = this;
    const frame = { epoch, position, capturedUs, flags: last ? FLAG_LAST : 0, samples };
    this.position += samples.length;
    this.kept.push(frame);
    this.keptSamples += samples.length;
    while (this.keptSamples > KEPT_SAMPLES) {
      this.keptSamples -= /** @type {Frame} */ (this.kept.shift()).samples.length;
    }
    return frame;
  }

  /**
   * Says where the stream stands, without samples.
   * @param {boolean} microphoneOn
   */
  presence(microphoneOn) {
    return this.here(microphoneOn ? FLAG_PRESENCE : FLAG_PRESENCE | FLAG_LAST);
  }

  // The same of what is on its way by another route: it says no more than what was acknowledged.
  behind() {
    const oldest = this.kept.find((frame) => stopOf(frame) > this.acknowledged);
    return oldest ? { ...oldest, flags: FLAG_PRESENCE, samples: NO_SAMPLES } : this.presence(true);
  }

  // Where that begins which a backend may still get.
  beginning() {
    const flags = FLAG_PRESENCE | FLAG_REPLAYED;
    return this.kept.length ? { ...this.kept[0], flags, samples: NO_SAMPLES } : this.here(flags);
  }

  /**
   * @param {number} flags
   * @returns {Frame}
   */
  here(flags) {
    const { epoch, position } = this;
    return { epoch, position, capturedUs: this.clock() * 1e6, flags, samples: NO_SAMPLES };
  }

  /**
   * Numbers anew from 0 as soon as nothing of this epoch is kept: no sample is given up for it.
   * @param {number} following
   */
  endEpoch(following) {
    this.following = following;
    this.beginFollowing();
  }

  beginFollowing() {
    if (this.following === null || this.kept.length > 0) return;
    Object.assign(this, { epoch: this.following, following: null, position: 0, acknowledged: 0, lost: 0, wanted: [] });
  }

  /**
   * The cloud has, or has given up, everything before `position`, and would still take what is `missing`. Other epochs
   * and nonsense are ignored.
   * @param {{epoch: number, position: number, missing?: [number, number][], lost?: number}} ack
   */
  acknowledge({ epoch, position, missing = [], lost = 0 }) {
    if (epoch !== this.epoch || position < this.acknowledged || position > this.position) return;
    Object.assign(this, { acknowledged: position, lost, wanted: missing });
    const lacks = (/** @type {Frame} */ frame) =>
      missing.some(([start, stop]) => frame.position < stop && start < stopOf(frame));
    this.kept = this.kept.filter((frame) => stopOf(frame) > position || lacks(frame));
    this.keptSamples = this.kept.reduce((sum, frame) => sum + frame.samples.length, 0);
    this.beginFollowing();
  }

  /**
   * What was captured in the last so many seconds and is not acknowledged.
   * @param {number} seconds
   */
  newest(seconds) {
    const since = (this.clock() - seconds) * 1e6;
    return this.kept.filter((frame) => frame.capturedUs >= since && stopOf(frame) > this.acknowledged);
  }

  // What the cloud has asked for and we still have, cut to the samples that are missing.
  get missing() {
    return this.kept.flatMap((frame) =>
      this.wanted
        .filter(([start, stop]) => frame.position < stop && start < stopOf(frame))
        .map(([start, stop]) => cut(frame, Math.max(start, frame.position), Math.min(stop, stopOf(frame)))),
    );
  }

  /**
   * What is still kept of a frame that was sent under this number, up to `stop`.
   * @param {FrameNumber} number
   * @param {number} stop
   */
  part(number, stop) {
    if (number.epoch !== this.epoch) return [];
    return this.kept
      .filter((frame) => frame.position < stop && number.position < stopOf(frame))
      .map((frame) => {
        const end = Math.min(stop, stopOf(frame));
        const flags = end === stop ? number.flags : number.flags & ~FLAG_LAST;
        return { ...cut(frame, Math.max(number.position, frame.position), end), flags };
      });
  }
}

/**
 * The samples [start, stop) of a frame.
 * @param {Frame} frame
 * @param {number} start
 * @param {number} stop
 * @returns {Frame}
 */
export function cut(frame, start, stop) {
  const skip = start - frame.position;
  const capturedUs = frame.capturedUs + Math.floor((skip * 1_000_000) / SAMPLE_RATE);
  return { ...frame, position: start, capturedUs, samples: frame.samples.subarray(skip, stop - frame.position) };
}
