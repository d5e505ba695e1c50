// Notices that the phone is on another network although nobody said so. Our Python phone asks the kernel
// (phone/network_watch.py); a browser does not tell.
//
// While somebody speaks, the cloud is asked often. Where it falls silent, another connection is tried beside the socket:
// one that opens, while the socket stays silent, has another way. On a bad network the socket is heard again by then, or
// the other connection does not open either.

/** @typedef {import("./cloud_socket.js").CloudSocket} CloudSocket */

const ASK_EVERY = 0.3; // seconds
const SILENT = 0.5; // seconds, and two round trips, after which another connection is tried
const OPEN_WITHIN = 1; // seconds, and two round trips, that it may take; then the next one is tried
const PATIENCE = 0.35; // seconds, and a round trip, that the socket has to be heard after that has opened
const LATE = 0.5; // seconds between two looks after which this process has stalled: either side may have been silent

/**
 * What silence means: "alive", or another connection is to be tried or waited for ("try"), or the socket's last chance
 * runs ("wait"), or its way is dead ("changed").
 * @param {number} silent seconds
 * @param {number} trip the round trip, seconds
 * @param {number | null} open seconds since another connection opened; null: none has
 */
export function judgeSilence(silent, trip, open) {
  if (silent < SILENT + 2 * trip) return "alive";
  if (open === null) return "try";
  return open < PATIENCE + trip ? "wait" : "changed";
}

export class NetworkWatch {
  /**
   * @param {() => number} clock
   * @param {import("./beside.js").Dial} dial
   * @param {() => void} changed
   */
  constructor(clock, dial, changed) {
    this.clock = clock;
    this.dial = dial;
    this.changed = changed;
    /** @type {CloudSocket | null} */
    this.attempt = null;
    this.triedAt = -Infinity;
    /** @type {number | null} */
    this.openedAt = null;
    this.lookedAt = -Infinity;
    this.awakeSince = 0;
  }

  /**
   * To be called some times a second.
   * @param {CloudSocket | null} socket the one that counts
   * @param {boolean} speaking somebody does
   */
  look(socket, speaking) {
    const now = this.clock();
    if (now - this.lookedAt > LATE) this.awakeSince = now;
    this.lookedAt = now;
    const { trip = null } = socket?.pace ?? {};
    if (socket === null || trip === null) return this.end();
    if (speaking && now - socket.pace.askedAt >= ASK_EVERY) socket.pace.ask();
    const open = this.openedAt === null ? null : now - this.openedAt;
    switch (judgeSilence(now - Math.max(socket.silentSince, this.awakeSince), trip.now, open)) {
      case "alive":
        return this.end();
      case "try":
        if (now - this.triedAt >= OPEN_WITHIN + 2 * trip.now) this.try(now);
        return undefined;
      case "changed":
        this.end();
        return this.changed();
    }
  }

  /** @param {number} now */
  try(now) {
    this.end();
    this.triedAt = now;
    const attempt = (this.attempt = this.dial({
      opened: () => {
        if (this.attempt === attempt) this.openedAt = this.clock();
      },
      ended: () => this.attempt === attempt && this.end(),
      passed: () => {},
    }));
  }

  end() {
    const { attempt } = this;
    this.attempt = this.openedAt = null;
    attempt?.close(false);
  }
}
