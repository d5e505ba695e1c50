// How much audio a socket gets at a time: no more than its way carries, so that a pong never waits behind much of it, and
// so that what waits can still be coded in another way (phone/pacing.py).
//
// A browser does not tell what is on its way. So pings go between the audio: when one is answered, all that was sent before
// it has arrived.

import { RULES } from "./rules.js";

const { AHEAD, AROUND, LEAST_AHEAD, LEAST_QUEUED, MOST_GROWN, WAY } = RULES.constants.pacing;

// Bytes after which the next ping goes. So much may always be on its way: never must audio wait for an answer that nobody
// has asked for.
const MARK = LEAST_QUEUED;
const LOST = 1; // seconds after which a ping goes again that nothing answers: a cloud may drop an answer, never audio
const SMOOTH = 1 / 4; // of each round trip
const REPEATED = 0.06; // seconds, and once more the least, by which a round trip is longer where a segment was sent again

/** @typedef {{now: number, least: number}} RoundTrip Seconds: smoothed, and the shortest. */

/**
 * Bytes that may be on their way for a stream of `rate` bytes a second. `lasting`: the least round trip lately.
 * @param {RoundTrip} trip
 * @param {number} lasting
 * @param {number} rate
 */
export function inFlight(trip, lasting, rate) {
  const least = trip.now - trip.least > AHEAD ? LEAST_QUEUED : LEAST_AHEAD;
  const needed = rate * (Math.min(trip.now, trip.least + AHEAD / 2) + AHEAD);
  const grown = Math.min(MOST_GROWN, rate * (Math.min(trip.now, lasting) + AHEAD));
  return Math.max(least, needed, grown);
}

export class Pace {
  /**
   * @param {() => number} clock
   * @param {(number: number) => void} ping asks the other side for an answer with this number
   */
  constructor(clock, ping) {
    this.clock = clock;
    this.ping = ping;
    this.isAnswered = false; // the other side answers pings
    this.put = 0; // bytes so far, and of what lies around them
    this.arrived = 0;
    this.marked = 0; // bytes that the newest ping follows
    this.number = 0; // of the newest; the machine's have numbers from 1 on
    /** @type {{at: number, put: number}[]} Pings without an answer, the oldest first; they are answered in order. */
    this.asked = [];
    this.askedAt = -Infinity;
    /** @type {RoundTrip | null} */
    this.trip = null;
    /** @type {[number, number][]} When, and how long, of the last WAY seconds. */
    this.trips = [];
    this.repeated = 0; // segments that were sent again, as far as round trips tell
    this.isHeldUp = false;
  }

  // Begins to ask: for a socket whose other side answers.
  begin() {
    this.isAnswered = true;
    this.ask();
  }

  // The number of a new ping: its answer means that all before it has arrived.
  ask() {
    this.number -= 1;
    this.askedAt = this.clock();
    this.asked.push({ at: this.askedAt, put: this.put });
    this.marked = this.put;
    this.ping(this.number);
    return this.number;
  }

  /**
   * That ping is answered.
   * @param {number} number
   */
  hasHeard(number) {
    return number >= this.number + this.asked.length;
  }

  /** Bytes that go out. @param {number} size */
  add(size) {
    this.put += size + AROUND;
  }

  /** A frame that went out. @param {number} size */
  sent(size) {
    this.add(size);
    if (this.isAnswered && this.put - this.marked >= MARK) this.ask();
  }

  /**
   * The answer to a ping; true: to one of ours.
   * @param {number} echo
   */
  hears(echo) {
    const index = this.number + this.asked.length - 1 - echo;
    if (index < 0 || index >= this.asked.length) return echo < 0;
    const { at, put } = this.asked[index];
    this.asked.splice(0, index + 1);
    this.arrived = put;
    this.learn(this.clock() - at);
    return true;
  }

  // What was lost holds up all that follows it, until it has come again: one delay, however many pings tell it.
  /** @param {number} took */
  learn(took) {
    const now = this.clock();
    const known = this.trip ?? { now: took, least: took };
    const isHeldUp = took > known.least + Math.max(REPEATED, known.least);
    this.repeated += Number(isHeldUp && !this.isHeldUp);
    this.isHeldUp = isHeldUp;
    this.trip = { now: known.now + SMOOTH * (took - known.now), least: Math.min(known.least, took) };
    this.trips.push([now, took]);
    while (this.trips[0][0] < now - WAY) this.trips.shift();
  }

  get pending() {
    return this.put - this.arrived;
  }

  // Seconds by which the round trip is longer than it need be; infinite where it is not known.
  get queued() {
    return this.trip === null ? Infinity : this.trip.now - this.trip.least;
  }

  /**
   * Whether more of a stream of `rate` bytes a second may go now; asks again where an answer is overdue.
   * @param {number} rate
   */
  takes(rate) {
    if (!this.isAnswered || this.pending === 0 || this.pending <= this.most(rate)) return true;
    const newest = this.asked.at(-1);
    if (newest !== undefined && this.clock() - newest.at > LOST) this.ask();
    return false;
  }

  /** @param {number} rate */
  most(rate) {
    if (this.trip === null) return LEAST_AHEAD;
    const lasting = this.trips.reduce((least, [, took]) => Math.min(least, took), Infinity);
    return inFlight(this.trip, lasting, rate);
  }
}
