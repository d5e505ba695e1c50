// The phone's place in its LiveKit room: when to take one, when to leave it, when to take a fresh one.
//
// The rules, names and numbers are those of core/phone_place.py; a test lets both decide the same schedules.

import { Backoff } from "./backoff.js";

const LADDER = { base: 0.25, cap: 2.0 };
const PATIENCE = [6.0, 3.0, 10.0]; // seconds for a join, in turn
const UNHEARD = 3.0; // or twice as long as the join took
export const FROZEN = 5.0;
const CONTESTED = 0.5;
const SETTLED = 5.0;
const NARROW_WAIT = 20.0;

export class PhonePlace {
  constructor(chance) {
    this.state = "out";
    this.generation = 0;
    this.trouble = "";
    this.heldSince = 0;
    this.unheardAfter = UNHEARD;
    this.backoff = new Backoff(LADDER, chance);
    this.attempts = 0;
    this.wanted = false;
    this.told = null;
    this.dueAt = null;
    this.nextAt = 0;
    this.begunAt = 0;
    this.unheardAfter = UNHEARD;
    this.narrow = false;
    this.wellSince = null;
  }

  step(event, now) {
    if ((event.place ?? this.generation) !== this.generation) return [];
    const cell = TABLE[this.state][event.type];
    return cell === undefined ? [] : cell.call(this, event, now);
  }

  nextDeadline() {
    return this.dueAt;
  }

  go(state) {
    this.state = state;
    this.dueAt = this.wellSince = null;
  }

  // ---- joins

  join(_event, now) {
    this.generation += 1;
    this.go("joining");
    this.begunAt = now;
    this.dueAt = now + PATIENCE[this.attempts % PATIENCE.length];
    this.attempts += 1;
    return [{ effect: "Join", place: this.generation }];
  }

  joinAt(due, now) {
    if (!this.wanted) {
      this.go("out");
      return [];
    }
    if (this.narrow) due = Math.max(due, now + NARROW_WAIT);
    if (due <= now) return this.join(null, now);
    this.go("waiting");
    this.dueAt = due;
    return [];
  }

  reset() {
    this.backoff.reset();
    this.backoff.nextDelay();
    this.attempts = 0;
  }

  want(event, now) {
    this.wanted = true;
    this.reset();
    return this.join(event, now);
  }

  wantStill(event, now) {
    this.wanted = true;
    if (event.same) return [];
    this.reset();
    return this.leave(now, true);
  }

  wantNext(_event, now) {
    this.wanted = true;
    this.reset();
    this.nextAt = now;
    return [];
  }

  joined(_event, now) {
    this.go("held");
    this.heldSince = now;
    this.unheardAfter = Math.max(UNHEARD, 2 * (now - this.begunAt));
    this.trouble = "";
    this.judge(now);
    return [];
  }

  failed(event, now) {
    this.trouble = event.reason;
    return this.joinAt(this.begunAt + this.backoff.nextDelay(), now);
  }

  expire(_event, now) {
    if (!this.isDue(now)) return [];
    this.trouble = "no answer in time";
    return this.leave(now, true, this.begunAt + this.backoff.nextDelay());
  }

  lost(event, now) {
    this.trouble = event.reason.text;
    this.settle(now);
    let delay = this.backoff.nextDelay();
    if (event.reason.code === "superseded") delay = Math.max(delay, CONTESTED);
    return this.joinAt(now + delay, now);
  }

  retry(event, now) {
    return this.isDue(now) ? this.join(event, now) : [];
  }

  isDue(now) {
    return this.dueAt !== null && now >= this.dueAt;
  }

  // ---- leaving

  leave(now, goodbye, following = now) {
    this.go("leaving");
    this.nextAt = following;
    return [{ effect: "Leave", place: this.generation, goodbye }];
  }

  left(_event, now) {
    return this.joinAt(this.nextAt, now);
  }

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

  learn(event) {
    this.told = event;
    return [];
  }

  toldHeld(event, now) {
    this.told = event;
    if (event.blame === "phone" && now >= this.heldSince + this.unheardAfter) return this.renew(now);
    this.judge(now);
    return [];
  }

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
    this.dueAt = ours || blamed ? (blamed ? this.heldSince : now) + this.unheardAfter : null;
  }

  settle(now) {
    if (this.wellSince !== null && now - this.wellSince >= SETTLED) {
      this.backoff.reset();
      this.attempts = 0;
    }
    this.wellSince = null;
  }

  narrowed(event) {
    this.narrow = event.narrow;
    return [];
  }

  renew(now) {
    this.settle(now);
    if (this.narrow) {
      this.dueAt = null;
      return [];
    }
    return this.leave(now, false, now + this.backoff.nextDelay());
  }

  unheard(_event, now) {
    return this.isDue(now) ? this.renew(now) : [];
  }

  doubt(_event, now) {
    this.reset();
    return this.leave(now, false);
  }

  hasten(event, now) {
    this.reset();
    return this.join(event, now);
  }

  hastenNext(_event, now) {
    this.reset();
    this.nextAt = now;
    return [];
  }
}

const _ = PhonePlace.prototype;

// What is not here is ignored; why, says the table in core/phone_place.py.
const TABLE = {
  out: { Wanted: _.want, Narrowed: _.narrowed },
  joining: {
    Narrowed: _.narrowed,
    Wanted: _.wantStill,
    Away: _.away,
    Unwanted: _.unwant,
    PlaceJoined: _.joined,
    PlaceFailed: _.failed,
    Doubted: _.doubt,
    AudioTold: _.learn,
    Tick: _.expire,
  },
  held: {
    Narrowed: _.narrowed,
    Wanted: _.wantStill,
    Away: _.away,
    Unwanted: _.unwant,
    PlaceLost: _.lost,
    Doubted: _.doubt,
    AudioTold: _.toldHeld,
    Tick: _.unheard,
  },
  leaving: {
    Narrowed: _.narrowed,
    Wanted: _.wantNext,
    Away: _.away,
    Unwanted: _.away,
    PlaceLeft: _.left,
    Doubted: _.hastenNext,
    AudioTold: _.learn,
  },
  waiting: {
    Narrowed: _.narrowed,
    Wanted: _.want,
    Away: _.rest,
    Unwanted: _.rest,
    Doubted: _.hasten,
    AudioTold: _.learn,
    Tick: _.retry,
  },
};
