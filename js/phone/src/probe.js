// Measures a link of which nothing is known, before audio fills it: how long do so many bytes before a ping take?
//
// A browser does not tell why they take long. A lost packet delays one probe by a repetition, a narrow link delays each:
// so the quickest of PROBES counts.

const PROBE = 4_096; // bytes
const PROBES = 2;
const FIRST = -1; // pings of the machine have numbers from 1 on
const TELLS = 0.15; // seconds beyond the round trip under which a probe tells nothing

export class Probe {
  /**
   * @param {import("./cloud_socket.js").CloudSocket} socket
   * @param {number} trip the round trip, seconds; more than it is does no harm
   * @param {() => number} clock
   * @param {{late: (rate: number) => void, passed: (rate: number | null) => void}} on `rate` in bit/s; null: too quick to tell
   */
  constructor(socket, trip, clock, on) {
    this.socket = socket;
    this.trip = trip;
    this.clock = clock;
    this.on = on;
    this.number = FIRST;
    this.quickest = Infinity;
    this.timer = setTimeout(() => on.late((PROBE * 8) / TELLS), (trip + TELLS) * 1000);
    this.begunAt = this.send();
  }

  send() {
    this.socket.say({ type: "link_probe", padding: ".".repeat(PROBE) });
    this.socket.say({ type: "ping", timestamp: this.number });
    return this.clock();
  }

  /**
   * The answer to a ping; true: to one of this probe.
   * @param {number} echo
   */
  hears(echo) {
    if (echo !== this.number) return false;
    clearTimeout(this.timer);
    this.quickest = Math.min(this.quickest, this.clock() - this.begunAt - this.trip);
    if (this.quickest <= TELLS || this.number === FIRST - PROBES + 1) {
      this.number = 0;
      this.on.passed(this.quickest > TELLS ? (PROBE * 8) / this.quickest : null);
    } else {
      this.number -= 1;
      this.begunAt = this.send();
    }
    return true;
  }

  end() {
    clearTimeout(this.timer);
  }
}
