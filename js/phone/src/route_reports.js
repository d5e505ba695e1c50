// What one route was given, and what the cloud reports of it: loss, lateness and rate (core/route_reports.py).

import { RULES } from "./rules.js";

const { FEW, GROWING, HISTORY, LOSSY, UNREPORTED, WINDOW } = RULES.constants.route_reports;
/** @typedef {{frames: number, stop: number, late: number}} Arrived What the cloud says of one route. */

/**
 * The first entry whose stop is after `position`.
 * @param {{stop: number}[]} entries in order
 * @param {number} position
 */
function after(entries, position) {
  let [low, high] = [0, entries.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (entries[middle].stop > position) high = middle;
    else low = middle + 1;
  }
  return low;
}

// What one route was given, and what the cloud says of it.
export class RouteReports {
  constructor() {
    /** @type {{stop: number, at: number, frames: number, bits: number}[]} */
    this.sent = [];
    this.lastLate = [0, 0];
    /** @type {[number, number][]} When, and how late, of each report in WINDOW. */
    this.latenesses = [];
    /** @type {Arrived | null} */
    this.said = null;
    this.expected = 0;
    /** @type {{at: number, expected: number, arrived: number, bits: number}[]} */
    this.window = [];
  }

  /**
   * @param {number} stop
   * @param {number} size
   * @param {number} now
   */
  put(stop, size, now) {
    const last = this.sent.at(-1) ?? { stop: 0, at: now, frames: 0, bits: 0 };
    if (stop < last.stop) return;
    this.sent.push({ stop, at: now, frames: last.frames + 1, bits: last.bits + 8 * size });
    if (this.sent.length > HISTORY) this.sent.shift();
  }

  /**
   * @param {Arrived} said
   * @param {number} now
   */
  report(said, now) {
    const former = this.said;
    this.said = said;
    const index = after(this.sent, said.stop) - 1;
    if (index < 0) return;
    const entry = this.sent[index];
    if (former === null || (said.frames > former.frames && entry.stop > former.stop)) {
      this.lastLate = [this.lastLate[1], said.late];
      this.latenesses.push([now, said.late]);
      while (this.latenesses[0][0] < now - WINDOW) this.latenesses.shift();
    }
    if (former !== null && said.frames >= former.frames && entry.stop > former.stop) {
      const expected = Math.max(1, entry.frames - this.expected);
      const arrived = Math.min(said.frames - former.frames, expected);
      const before = this.sent[Math.max(0, index - expected)];
      this.window.push({ at: now, expected, arrived, bits: (arrived / expected) * (entry.bits - before.bits) });
    } else if (former === null) {
      this.window.push({ at: now, expected: 0, arrived: 0, bits: 0 });
    }
    this.expected = entry.frames;
    while (this.window.length && this.window[0].at < now - WINDOW) this.window.shift();
  }

  /**
   * Seconds since the oldest frame was sent that the cloud has not reported yet.
   * @param {number} now
   */
  unanswered(now) {
    const entry = this.sent[after(this.sent, this.said?.stop ?? -1)];
    return entry === undefined ? 0 : now - entry.at;
  }

  get loss() {
    const expected = this.window.reduce((sum, entry) => sum + entry.expected, 0);
    return expected < FEW ? 0 : 1 - this.window.reduce((sum, entry) => sum + entry.arrived, 0) / expected;
  }

  /**
   * Seconds by which its quickest frames are late.
   * @param {number} reportedAt the last report of any route
   */
  late(reportedAt) {
    return Math.max(Math.min(...this.lastLate), this.unanswered(reportedAt) - UNREPORTED);
  }

  get fills() {
    const known = this.latenesses;
    const grown = known.length > 1 && known[known.length - 1][1] - known[0][1] > GROWING;
    return this.loss > LOSSY || grown;
  }

  get rate() {
    if (this.window.length < 2) return 0;
    const [begun, ...rest] = this.window;
    const seconds = Math.max(0.1, rest[rest.length - 1].at - begun.at);
    return rest.reduce((sum, entry) => sum + entry.bits, 0) / seconds;
  }

  /**
   * Bits a second that it was given in WINDOW, headers included.
   * @param {number} now
   */
  offered(now) {
    const { sent } = this;
    const [first, last] = [sent.find(({ at }) => at >= now - WINDOW) ?? sent[sent.length - 1], sent[sent.length - 1]];
    return (last.bits - first.bits) / Math.max(0.1, now - first.at);
  }
}
