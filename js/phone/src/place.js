// The phone's place in its LiveKit room: when to take one, when to leave it, when to take a fresh one.
//
// The rules are those of core/phone_place.py, as in socket.js.

import { Backoff } from "./backoff.js";
import { Machine } from "./machine.js";
import { RULES } from "./rules.js";

/** @typedef {import("./machine.js").Event} Event */
/** @typedef {import("./machine.js").Effect} Effect */

const { LADDER, PATIENCE, UNHEARD, CONTESTED, SETTLED, NARROW_WAIT } = RULES.machines.phone_place.constants;
export const { FROZEN } = RULES.machines.phone_place.constants;

export class PhonePlace extends Machine {
  /** @param {() => number} chance gives numbers in [0, 1) */
  constructor(chance) {
    super(RULES.machines.phone_place);
    this.generation = 0;
    this.trouble = "";
    this.heldSince = 0;
    this.judgedFrom = 0; // from when on the cloud may have heard it
    this.unheardAfter = UNHEARD;
    this.backoff = new Backoff(LADDER, chance);
    this.attempts = 0;
    this.wanted = false;
    /** @type {Event | null} */
    this.told = null;
    /** @type {number | null} */
    this.dueAt = null;
    this.nextAt = 0;
    this.begunAt = 0;
    this.narrow = false;
    /** @type {number | null} */
    this.wellSince = null;
  }

  /** @param {Event} event @param {number} now */
  step(event, now) {
    if ((event.place ?? this.generation) !== this.generation) return [];
    return this.decide(event, now);
  }

  nextDeadline() {
    return this.dueAt;
  }

  /** @param {string} state */
  go(state) {
    this.state = state;
    this.dueAt = this.wellSince = null;
  }

  // ---- joins

  /** @param {Event} _event @param {number} now */
  join(_event, now) {
    this.generation += 1;
    this.go("joining");
    this.begunAt = now;
    this.dueAt = now + PATIENCE[this.attempts % PATIENCE.length];
    this.attempts += 1;
    return [{ effect: "Join", place: this.generation }];
  }

  /** @param {number} due @param {number} now */
  joinAt(due, now) {
    if (!this.wanted) {
      this.go("out");
      return [];
    }
    if (this.narrow) due = Math.max(due, now + NARROW_WAIT);
    if (due <= now) return this.join({ type: "Tick" }, now);
    this.go("waiting");
    this.dueAt = due;
    return [];
  }

  reset() {
    this.backoff.reset();
    this.backoff.nextDelay();
    this.attempts = 0;
  }

  /** @param {Event} event @param {number} now */
  want(event, now) {
    this.wanted = true;
    this.reset();
    return this.join(event, now);
  }

  /** @param {Event} event @param {number} now */
  wantStill(event, now) {
    this.wanted = true;
    if (event.same) {
      if (event.late) this.judgedFrom = now;
      return [];
    }
    this.reset();
    return this.leave(now, true);
  }

  /** @param {Event} _event @param {number} now */
  wantNext(_event, now) {
    this.wanted = true;
    this.reset();
    this.nextAt = now;
    return [];
  }

  /** @param {Event} _event @param {number} now */
  joined(_event, now) {
    this.go("held");
    this.heldSince = this.judgedFrom = now;
    this.unheardAfter = Math.max(UNHEARD, 2 * (now - this.begunAt));
    this.trouble = "";
    this.judge(now);
    return [];
  }

  /** @param {Event} event @param {number} now */
  failed(event, now) {
    this.trouble = event.reason;
    return this.joinAt(this.begunAt + this.backoff.nextDelay(), now);
  }

  /** @param {Event} _event @param {number} now */
  expire(_event, now) {
    if (!this.isDue(now)) return [];
    this.trouble = "no answer in time";
    return this.leave(now, true, this.begunAt + this.backoff.nextDelay());
  }

  /** @param {Event} event @param {number} now */
  lost(event, now) {
    this.trouble = event.reason.text;
    this.settle(now);
    let delay = this.backoff.nextDelay();
    if (event.reason.code === "superseded") delay = Math.max(delay, CONTESTED);
    return this.joinAt(now + delay, now);
  }

  /** @param {Event} event @param {number} now */
  retry(event, now) {
    return this.isDue(now) ? this.join(event, now) : [];
  }

  /** @param {number} now */
  isDue(now) {
    return this.dueAt !== null && now >= this.dueAt;
  }

  // ---- leaving

  /** @param {number} now @param {boolean} goodbye @param {number} [following] */
  leave(now, goodbye, following = now) {
    this.go("leaving");
    this.nextAt = following;
    return [{ effect: "Leave", place: this.generation, goodbye }];
  }

  /** @param {Event} _event @param {number} now */
  left(_event, now) {
    return this.joinAt(this.nextAt, now);
  }

  /** @param {Event} event @param {number} now */
  unwant(event, now) {
    this.forget();
    return this.leave(now, event.goodbye);
  }

  rest() {
    this.forget();
    this.go("out");
    return [];
  }

  away() {
    this.forget();
    return [];
  }

  forget() {
    this.wanted = false;
    this.told = null;
    if (this.state === "held") this.dueAt = null;
  }

  // ---- suspicion

  /** @param {Event} event */
  learn(event) {
    this.told = event;
    return [];
  }

  /** @param {Event} event @param {number} now */
  toldHeld(event, now) {
    this.told = event;
    if (event.blame === "phone" && now >= this.judgedFrom + this.unheardAfter) return this.renew(now);
    this.judge(now);
    return [];
  }

  /** @param {number} now */
  judge(now) {
    const told = this.told;
    const blamed = told !== null && told.blame === "phone";
    if (told === null || (told.state === "live" && !blamed)) {
      this.dueAt = null;
      this.wellSince ??= now;
      return;
    }
    this.settle(now);
    const ours = told.state === "interrupted" && told.blame !== "elsewhere";
    this.dueAt = ours || blamed ? (blamed ? this.judgedFrom : now) + this.unheardAfter : null;
  }

  /** @param {number} now */
  settle(now) {
    if (this.wellSince !== null && now - this.wellSince >= SETTLED) {
      this.backoff.reset();
      this.attempts = 0;
    }
    this.wellSince = null;
  }

  /** @param {Event} event */
  narrowed(event) {
    this.narrow = event.narrow;
    return [];
  }

  /** @param {number} now */
  renew(now) {
    this.settle(now);
    if (this.narrow) {
      this.dueAt = null;
      return [];
    }
    return this.leave(now, false, now + this.backoff.nextDelay());
  }

  /** @param {Event} _event @param {number} now */
  unheard(_event, now) {
    return this.isDue(now) ? this.renew(now) : [];
  }

  /** @param {Event} _event @param {number} now */
  doubt(_event, now) {
    this.reset();
    return this.leave(now, false);
  }

  /** @param {Event} event @param {number} now */
  hasten(event, now) {
    this.reset();
    return this.join(event, now);
  }

  /** @param {Event} _event @param {number} now */
  hastenNext(_event, now) {
    this.reset();
    this.nextAt = now;
    return [];
  }
}
