// Measures a link of which nothing is known, before audio fills it: how long do so many bytes take?
//
// A browser does not tell why they take long. So they go in parts, each with a ping behind it: a narrow link delays each
// part by as much, a lost packet delays one, and those behind it come with it. They go once the round trip is known.

import { RULES } from "./rules.js";

const { PROBE, PROBE_TELLS } = RULES.constants.pacing;

const PARTS = 4;
const LONGEST = 0.5; // seconds within which the first answer has come, where the link is not in doubt

/**
 * The bit/s at which a probe passed; null: too quickly to tell, or it waited for a repetition.
 * @param {number[]} answered when each part had arrived, seconds since it was sent, beyond the round trip
 */
export function rateOf(answered) {
  const took = answered[answered.length - 1];
  const delayed = answered.filter((at, part) => at - (answered[part - 1] ?? 0) > took / PARTS / 2);
  return took > PROBE_TELLS && delayed.length >= PARTS - 1 ? (PROBE * 8) / took : null;
}

export class Probe {
  /**
   * @param {import("./cloud_socket.js").CloudSocket} socket
   * @param {() => number} clock
   * @param {{late: (rate: number) => void, passed: (rate: number | null) => void}} on `rate` in bit/s, of one that is late
   *   at most; null: it tells nothing
   */
  constructor(socket, clock, on) {
    this.socket = socket;
    this.clock = clock;
    this.on = on;
    /** @type {number[]} Of the pings behind the parts. */
    this.numbers = [];
    /** @type {number[]} */
    this.answered = [];
    this.begunAt = 0;
    this.timer = this.within(LONGEST);
  }

  /** @param {number} trip */
  within(trip) {
    return setTimeout(() => this.on.late((PROBE * 8) / PROBE_TELLS), (trip + PROBE_TELLS) * 1000);
  }

  // To be called whenever a ping was answered.
  look() {
    const { pace } = this.socket;
    if (pace.trip === null || this.isOver) return;
    if (!this.numbers.length) return this.send(pace.trip.least);
    const at = this.clock() - this.begunAt - pace.trip.least;
    while (this.answered.length < PARTS && pace.hasHeard(this.numbers[this.answered.length])) this.answered.push(at);
    if (this.answered.length < PARTS) return;
    this.end();
    this.on.passed(rateOf(this.answered));
  }

  /** @param {number} trip */
  send(trip) {
    const { pace } = this.socket;
    this.end();
    this.timer = this.within(trip);
    this.begunAt = this.clock();
    for (let part = 0; part < PARTS; part += 1) {
      this.socket.say({ type: "link_probe", padding: ".".repeat(PROBE / PARTS) });
      pace.add(PROBE / PARTS);
      this.numbers.push(pace.ask());
    }
  }

  get isOver() {
    return this.answered.length === PARTS;
  }

  end() {
    clearTimeout(this.timer);
  }
}

/**
 * Probes the link of a new socket; what is said waits until it is known: PCM would fill a narrow one for seconds.
 * @param {import("./cloud_socket.js").CloudSocket} socket
 * @param {() => number} clock
 * @param {import("./sender.js").Sender} sender
 */
export function measure(socket, clock, { sending, work }) {
  work.hold();
  return new Probe(socket, clock, {
    late: (rate) => {
      sending.doubted(rate, clock());
      work.release();
    },
    passed: (rate) => {
      sending.probed(rate, clock());
      work.release();
    },
  });
}

/**
 * Probes the link once more, before more is sent.
 * @param {import("./cloud_socket.js").CloudSocket} socket
 * @param {() => number} clock
 * @param {import("./sender.js").Sender} sender
 */
export function measureAgain(socket, clock, { sending }) {
  return new Probe(socket, clock, { late: () => {}, passed: (rate) => sending.probed(rate, clock()) });
}
