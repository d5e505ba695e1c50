// The phone's second socket: it carries audio beside the first while the link loses packets and no room carries any, and
// stands by otherwise (phone/beside.py): when the first answers nothing, it gets what was said since (unheard.js).
//
// TCP holds everything back until a lost segment has come again, a round trip later at least. Two sockets rarely do so at
// the same moment, and numbered samples that come twice are heard once.

import { RULES } from "./rules.js";

/** @typedef {import("./cloud_socket.js").CloudSocket} CloudSocket */
/**
 * @typedef {(on: {opened: () => void, ended: () => void, passed: () => void}) => CloudSocket | null} Dial Another connection
 *   to the cloud; null: it takes none
 */

const { AGAIN_AFTER, KEPT_FOR, OPEN_WITHIN } = RULES.constants.beside;

const RECENT = 0.5; // seconds for which a wish counts
const ASK_EVERY = 1; // seconds: one that has begun to ask and falls silent counts as dead

export class Beside {
  /**
   * @param {() => number} clock
   * @param {Dial} dial
   * @param {() => void} passed what it carries has arrived, up to here
   */
  constructor(clock, dial, passed) {
    this.clock = clock;
    this.dial = dial;
    this.passed = passed;
    /** @type {CloudSocket | null} Being opened, or open. */
    this.attempt = null;
    /** @type {CloudSocket | null} Open. */
    this.socket = null;
    this.dueAt = -Infinity; // when the next attempt may begin, or this one has to be open
    this.wantedAt = -Infinity;
    this.askAt = -Infinity;
  }

  // To be called for what is sent while it is of use.
  want() {
    this.wantedAt = this.clock();
  }

  // To be called some times a second.
  look() {
    const now = this.clock();
    const unused = now - this.wantedAt;
    if (this.attempt === null) {
      if (unused <= RECENT && now >= this.dueAt) this.open(now);
    } else if (this.socket === null ? now >= this.dueAt : unused > KEPT_FOR) {
      this.end();
    } else if (this.socket !== null && now >= this.askAt) {
      this.askAt = now + ASK_EVERY;
      this.socket.pace.ask();
    }
  }

  /** @param {number} now */
  open(now) {
    const attempt = (this.attempt = this.dial({
      opened: () => {
        if (this.attempt !== attempt) return;
        this.socket = attempt;
        attempt?.pace.begin();
      },
      ended: () => this.attempt === attempt && this.end(),
      passed: this.passed,
    }));
    this.dueAt = now + (attempt === null ? AGAIN_AFTER : OPEN_WITHIN);
  }

  end() {
    const { attempt } = this;
    this.attempt = this.socket = null;
    this.dueAt = this.clock() + AGAIN_AFTER;
    attempt?.close(false);
  }
}
