// One route of a phone's audio: frames wait here, the oldest first, until the route takes them or nobody wants them.

import { encoded } from "./coding.js";

/** @typedef {import("./coding.js").Outgoing} Outgoing */

const MAX_WAITING = 1_024; // frames; the oldest go first, and the cloud asks for them

export class Lane {
  /**
   * @param {() => number} clock
   * @param {object} on
   * @param {(bytes: Uint8Array) => boolean} on.deliver false: the route takes no more now
   * @param {(frame: Outgoing, done: boolean) => void} on.result
   * @param {(frame: Outgoing, waited: number) => boolean} on.wanted whether a frame that waited so long is still to be sent
   * @param {number} lag seconds that each frame waits at least
   */
  constructor(clock, { deliver, result, wanted }, lag = 0) {
    this.lag = lag;
    this.clock = clock;
    this.deliver = deliver;
    this.result = result;
    this.wanted = wanted;
    /** @type {{at: number, frame: Outgoing, copies: number}[]} */
    this.items = [];
  }

  /**
   * @param {Outgoing} frame
   * @param {number} copies of earlier packets that it carries again
   */
  put(frame, copies = 0) {
    if (this.items.length >= MAX_WAITING) this.result(/** @type {any} */ (this.items.shift()).frame, false);
    this.items.push({ at: this.clock(), frame, copies });
    this.drain();
  }

  // Sends what the route takes now. To be called often while anything waits.
  drain() {
    while (this.items.length) {
      const { at, frame, copies } = this.items[0];
      if (this.clock() - at < this.lag) return;
      const wanted = this.wanted(frame, this.clock() - at);
      if (wanted && !this.deliver(encoded(frame, copies))) return;
      this.items.shift();
      this.result(frame, wanted);
    }
  }

  // What waits, the oldest first; it waits no more.
  takeBack() {
    return this.items.splice(0).map(({ frame }) => frame);
  }

  // Everything that waits is of no use any more.
  clear() {
    for (const frame of this.takeBack()) this.result(frame, false);
  }

  /** Seconds that the oldest frame has waited. @param {number} now */
  backlog(now) {
    return this.items.length ? now - this.items[0].at : 0;
  }
}
