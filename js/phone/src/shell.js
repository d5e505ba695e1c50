// Turns a machine: one event after the other, effects performed in order, a timer for its next deadline.

/** @typedef {import("./machine.js").Event} Event */
/** @typedef {import("./machine.js").Effect} Effect */

const LONGEST_TIMER = 60; // seconds

export class Shell {
  /**
   * @param {{step: (event: Event, now: number) => Effect[], nextDeadline: () => number | null}} machine
   * @param {() => number} clock
   * @param {(effect: Effect) => void} perform
   * @param {(error: Error) => void} fail
   */
  constructor(machine, clock, perform, fail) {
    this.machine = machine;
    this.clock = clock;
    this.perform = perform;
    this.fail = fail;
    /** @type {Event[]} */
    this.inbox = [];
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
  }

  /** @param {Event} event */
  post(event) {
    this.inbox.push(event);
    if (this.inbox.length > 1) return; // the loop below is running: it takes this one, too
    try {
      while (this.inbox.length) {
        for (const effect of this.machine.step(this.inbox[0], this.clock())) this.perform(effect);
        this.inbox.shift();
      }
    } catch (error) {
      this.inbox = [];
      this.fail(/** @type {Error} */ (error));
      return;
    }
    this.rearm();
  }

  // For clocks that are quicker than a timer: browsers slow the timers of a tab that is not seen.
  look() {
    const due = this.machine.nextDeadline();
    if (due !== null && this.clock() >= due) this.post({ type: "Tick" });
  }

  rearm() {
    clearTimeout(this.timer);
    const due = this.machine.nextDeadline();
    if (due === null) return;
    const wait = Math.min(LONGEST_TIMER, Math.max(0, due - this.clock()));
    this.timer = setTimeout(() => this.post({ type: "Tick" }), wait * 1000);
  }

  stop() {
    clearTimeout(this.timer);
  }
}
