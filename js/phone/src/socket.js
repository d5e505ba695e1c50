// The phone's socket: when to open one, whether it can be trusted, when to try again, when to stop.
//
// The rules are those of core/phone_socket.py: its table and numbers come from there (rules.js), each method is the one
// of the same name, and a test lets both decide the same schedules.

import { Backoff, earliest } from "./backoff.js";
import { Machine } from "./machine.js";
import { RULES } from "./rules.js";

/** @typedef {import("./machine.js").Event} Event */
/** @typedef {import("./machine.js").Effect} Effect */

const { states: STATES, constants } = RULES.machines.phone_socket;
const { LADDER, PATIENCE, ROUND_TRIPS, SILENCE, PROBE, MOST_ASKED, LONGEST_TRIP, REACHES } = constants;
const { FORGETTING, ASLEEP, SETTLED, SPREAD } = constants;
export const { PING_EVERY } = constants;

const OPEN = new Set(["opening", "ready", "doubtful"]);
const PARTS = new Set(["NetworkChanged", "NetworkLost", "Switch", "Stop"]); // what was open is of no use after these

export class PhoneSocket extends Machine {
  /** @param {() => number} chance gives numbers in [0, 1) */
  constructor(chance) {
    super(RULES.machines.phone_socket);
    this.generation = 0; // of the attempt or socket that counts
    /** @type {number | null} */
    this.kept = null; // the socket that fell silent and may answer yet
    this.trouble = "";
    /** @type {number | null} */
    this.deadSince = null;
    this.wasHere = false;
    /** @type {number | null} */
    this.retryAt = null;
    this.chance = chance;
    this.backoff = new Backoff(LADDER, chance);
    this.begunAt = 0;
    this.attempts = 0;
    /** @type {number | null} */
    this.giveUpAt = null;
    this.since = 0;
    /** @type {number | null} */
    this.pingAt = null;
    this.pings = 0;
    this.probe = 0;
    /** @type {[number, number][]} Pings without an answer: number and time. */
    this.asked = [];
    this.roundTrip = 0;
    this.answeredAt = 0;
    this.answers = false;
    this.newest = 0;
    this.rivalledUntil = -Infinity; // the cloud may yet take an attempt that was given up for the socket that counts
  }

  get here() {
    return /** @type {any} */ (STATES)[this.state].here;
  }

  get final() {
    return /** @type {any} */ (STATES)[this.state].final;
  }

  /** @param {Event} event @param {number} now */
  step(event, now) {
    const of = event.socket ?? this.generation;
    if (of !== this.generation && of !== this.kept) return [];
    const effects = this.decide(event, now);
    if (this.kept !== null && (this.here || this.final || PARTS.has(event.type))) {
      effects.unshift(this.closing(false, this.kept));
      this.kept = null;
    }
    return effects;
  }

  nextDeadline() {
    return earliest(this.retryAt, this.giveUpAt, this.pingAt, this.silentAt);
  }

  get silentAt() {
    if (!this.here || !this.answers || this.asked.length === 0) return null;
    return this.asked[0][1] + SILENCE + this.roundTrip;
  }

  /** @param {string} state */
  go(state) {
    this.state = state;
    this.retryAt = this.giveUpAt = null;
    if (!this.here) {
      this.pingAt = null;
      this.asked = [];
    }
  }

  // ---- attempts

  /** @param {number} now */
  open(now) {
    this.generation = this.newest += 1;
    this.go("opening");
    this.begunAt = now;
    this.giveUpAt = now + PATIENCE[this.attempts % PATIENCE.length] + ROUND_TRIPS * this.roundTrip;
    this.attempts += 1;
    this.answers = false;
    return [{ effect: "OpenSocket", socket: this.generation }];
  }

  /** @param {number} now */
  openFirst(now) {
    this.backoff.reset();
    this.attempts = 0;
    this.backoff.nextDelay();
    return this.open(now);
  }

  /** @param {boolean} goodbye @param {number} [socket] */
  closing(goodbye, socket = this.generation) {
    return { effect: "CloseSocket", socket, goodbye };
  }

  /** @param {number} now */
  openAnew(now) {
    return [this.closing(false), ...this.openFirst(now)];
  }

  /** @param {Event} event @param {number} now */
  accepted(event, now) {
    if (event.socket === this.kept) return this.revive(event, now);
    this.go("ready");
    this.trouble = "";
    this.wasHere = true;
    this.rivalledUntil = -Infinity;
    this.answers = event.answers;
    this.roundTrip = Math.min(this.roundTrip, now - this.begunAt); // it took one at least
    this.since = this.answeredAt = now;
    return this.ping(now);
  }

  /** @param {Event} event @param {number} now */
  failed(event, now) {
    this.trouble = event.reason;
    if (event.final) {
      this.go("ended");
      return [];
    }
    this.wasHere = false;
    return this.tryLater(now);
  }

  /** @param {number} now */
  tryLater(now) {
    const due = this.begunAt + this.backoff.nextDelay();
    if (due <= now) return this.open(now);
    this.go("waiting");
    this.retryAt = due;
    return [];
  }

  /** @param {Event} event @param {number} now */
  closed(event, now) {
    if (event.socket === this.kept) return this.part(event);
    this.deadSince = null;
    this.trouble = event.reason;
    if (event.comeBack === "no" && now >= this.rivalledUntil) {
      this.go("ended");
      return [];
    }
    if (event.comeBack !== "later") {
      this.backoff.reset();
      this.go("waiting");
      this.retryAt = now + SPREAD * this.chance();
      return [];
    }
    return this.lose(now);
  }

  /** @param {number} now */
  lose(now) {
    if (this.here && now - this.since >= SETTLED) {
      this.backoff.reset();
      this.attempts = 0;
    }
    this.begunAt = now;
    return this.tryLater(now);
  }

  // ---- is it alive

  /** @param {number} now */
  ping(now) {
    this.pings += 1;
    this.asked.push([this.pings, now]);
    if (this.asked.length > MOST_ASKED) this.asked.shift();
    this.pingAt = now + PING_EVERY;
    return [{ effect: "Ping", socket: this.generation, number: this.pings }];
  }

  /** @param {Event} event @param {number} now */
  hear(event, now) {
    if (event.echo === null || event.echo === undefined) return [];
    this.answers = true;
    this.answeredAt = now;
    while (this.asked.length > 0 && this.asked[0][0] <= event.echo) {
      const [number, at] = /** @type {[number, number]} */ (this.asked.shift());
      if (number === event.echo) {
        this.roundTrip = Math.min(Math.max(now - at, FORGETTING * this.roundTrip), LONGEST_TRIP);
      }
    }
    if (this.state === "doubtful" && event.echo >= this.probe) this.go("ready");
    return [];
  }

  /** @param {Event} event @param {number} now */
  woke(event, now) {
    return !this.answers && event.seconds < ASLEEP ? [] : this.doubt(now);
  }

  /** @param {number} now */
  doubt(now) {
    if (!this.answers) return this.openAnew(now);
    this.go("doubtful");
    this.giveUpAt = now + PROBE + this.roundTrip;
    this.answeredAt = now;
    this.asked = [];
    this.probe = this.pings + 1;
    return this.ping(now);
  }

  /** @param {Event} _event @param {number} now */
  tick(_event, now) {
    if (this.giveUpAt !== null && now >= this.giveUpAt) return this.giveUp(now, "no answer in time");
    if (this.silentAt !== null && now >= this.silentAt) {
      return this.giveUp(now, "the cloud does not answer");
    }
    if (this.pingAt !== null && now >= this.pingAt) return this.ping(now);
    return [];
  }

  /** @param {number} now @param {string} why */
  giveUp(now, why) {
    this.trouble = why;
    const dead = this.closing(false);
    if (this.state === "ready") {
      this.deadSince = now;
      this.kept = this.generation;
      return this.lose(now);
    }
    if (this.here) {
      this.deadSince = this.answeredAt;
      return [dead, ...this.lose(now)];
    }
    this.wasHere = false;
    return [dead, ...this.tryLater(now)];
  }

  // The socket that fell silent answers: its way has become long. The attempt comes too late.
  /** @param {Event} event @param {number} now */
  revive(event, now) {
    const answers = event.type === "Accepted" || (event.echo !== null && event.echo !== undefined);
    if (event.socket !== this.kept || !answers) return [];
    const attempt = this.state === "opening" ? [this.closing(false)] : [];
    this.generation = this.kept;
    this.kept = null;
    this.go("ready");
    this.trouble = "";
    this.wasHere = this.answers = true;
    this.rivalledUntil = this.newest > this.generation ? now + REACHES : -Infinity;
    this.deadSince = null;
    this.answeredAt = now;
    this.roundTrip = LONGEST_TRIP;
    return [...attempt, ...this.ping(now)];
  }

  /** @param {Event} event */
  part(event) {
    if (event.socket === this.kept) this.kept = null;
    return [];
  }

  /** @param {Event} _event @param {number} now */
  retry(_event, now) {
    return this.retryAt === null || now < this.retryAt ? [] : this.open(now);
  }

  // ---- what the owner says

  /** @param {Event} _event @param {number} now */
  start(_event, now) {
    return this.openFirst(now);
  }

  /** @param {Event} _event @param {number} now */
  hasten(_event, now) {
    return this.openFirst(now);
  }

  /** @param {Event} _event @param {number} now */
  restart(_event, now) {
    if (this.here) this.trouble = "the network changed";
    return this.openAnew(now);
  }

  loseNetwork() {
    const had = OPEN.has(this.state);
    this.go("offline");
    this.trouble = "";
    return had ? [this.closing(false)] : [];
  }

  /** @param {Event} _event @param {number} now */
  switch(_event, now) {
    this.trouble = "";
    const former = OPEN.has(this.state) ? [this.closing(true)] : [];
    return [...former, ...this.openFirst(now)];
  }

  stop() {
    const had = OPEN.has(this.state);
    this.go("ended");
    this.trouble = "";
    return had ? [this.closing(true)] : [];
  }
}
