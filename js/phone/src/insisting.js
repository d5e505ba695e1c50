// While the other side acknowledges nothing: the newest audio is sent into the room again (phone/insisting.py).
//
// Once in each silence: a browser keeps what its room does not take, and sends it as soon as something passes.

import { isDoubtful } from "./routes.js";
import { RULES } from "./rules.js";

const { AGAIN } = RULES.constants.insisting;

export class Insistence {
  /** @param {import("./capture.js").Capture} capture */
  constructor(capture) {
    this.capture = capture;
    this.roused = false;
  }

  /**
   * What goes again now: once in each silence.
   * @param {number} silent
   * @param {number} trip
   */
  look(silent, trip) {
    const former = this.roused;
    this.roused = isDoubtful(silent, trip);
    return this.roused && !former ? this.capture.newest(AGAIN) : [];
  }
}
