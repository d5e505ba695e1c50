// The samples that the cloud lacks: which of them are sent again, by which route, and when (phone/missing.py).

import { SAMPLE_RATE, stopOf } from "./frames.js";
import { chooseAgain } from "./routes.js";
import { RULES } from "./rules.js";

/** @typedef {import("./capture.js").Capture} Capture */
/** @typedef {import("./frames.js").Frame} Frame */

const { AGAIN_AFTER, REMEMBERED } = RULES.constants.missing;
const { REPLAY_SPEED } = RULES.constants.plain;
const { REPAIR_MS } = RULES.constants.coding;

const BURST = 0.03; // seconds of sending again that are made up for
const REPLAY_SAMPLES = (REPAIR_MS * SAMPLE_RATE) / 1000;

export class Missing {
  /**
   * @param {() => number} clock
   * @param {Capture} capture
   */
  constructor(clock, capture) {
    this.clock = clock;
    this.capture = capture;
    /** @type {Frame[]} To be sent again behind what is new, the oldest first. */
    this.late = [];
    /** @type {Map<number, number>} Positions that were sent again on this socket's watch, and when last. */
    this.asked = new Map();
    /** @type {[number, number][]} Stretches that this socket carries, or will: TCP loses nothing of them. */
    this.carried = [];
    this.dueAt = 0; // when the next late frame may be sent
  }

  // Another socket counts.
  beginSocket() {
    this.late = [];
    this.beginEpoch();
  }

  // Positions begin anew.
  beginEpoch() {
    this.asked.clear();
    this.carried = [];
  }

  /**
   * The socket carries these samples.
   * @param {number} start
   * @param {number} stop
   */
  carry(start, stop) {
    const last = this.carried.at(-1);
    if (last && last[1] === start) last[1] = stop;
    else this.carried.push([start, stop]);
    if (this.carried.length > REMEMBERED) this.carried.shift();
  }

  // The socket did not take everything: nobody knows what it carries.
  drop() {
    this.carried = [];
  }

  /**
   * What goes again now, and by which ways: fresh samples into the room repeatedly, by the socket once. The rest waits
   * (`next`).
   * @param {boolean} measured the cloud reports how audio arrives
   * @param {boolean} room it may carry more
   * @returns {{frames: Frame[], by: {room: boolean, socket: boolean}}[]}
   */
  due(measured, room) {
    const now = this.clock();
    /** @type {{frames: Frame[], by: {room: boolean, socket: boolean}}[]} */
    const found = [];
    for (const frame of this.capture.missing) {
      const again = chooseAgain(measured ? now - frame.capturedUs / 1e6 : Infinity, {
        due: now - (this.asked.get(frame.position) ?? -Infinity) > AGAIN_AFTER,
        room,
        carried: this.carried.some(([start, stop]) => start <= frame.position && stopOf(frame) <= stop),
      });
      if (again.later) {
        this.carry(frame.position, stopOf(frame));
        this.late.push(frame);
      }
      if (!again.room && !again.socket) continue;
      this.ask(frame.position, now);
      const last = found.at(-1);
      if (last && last.by.room === again.room && last.by.socket === again.socket) last.frames.push(frame);
      else found.push({ frames: [frame], by: again });
    }
    return found;
  }

  /**
   * @param {number} position
   * @param {number} now
   */
  ask(position, now) {
    this.asked.delete(position);
    this.asked.set(position, now);
    if (this.asked.size > REMEMBERED) this.asked.delete(/** @type {number} */ (this.asked.keys().next().value));
  }

  // The next late frames, about as many as one of Opus carries, at most REPLAY_SPEED times real time; none: not yet.
  next() {
    const now = this.clock();
    this.dueAt = Math.max(this.dueAt, now - BURST);
    const frames = [];
    for (let samples = 0; this.late.length && this.dueAt <= now && samples < REPLAY_SAMPLES; ) {
      const frame = /** @type {Frame} */ (this.late.shift());
      samples += frame.samples.length;
      frames.push(frame);
    }
    this.dueAt += frames.reduce((sum, frame) => sum + frame.samples.length, 0) / SAMPLE_RATE / REPLAY_SPEED;
    return frames;
  }
}
