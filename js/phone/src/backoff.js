// When to try again: at once the first time, then full jitter under a growing ceiling (core/backoff.py).

export class Backoff {
  /**
   * @param {{base: number, cap: number}} ladder the ceiling of the second attempt in seconds, doubling up to `cap`
   * @param {() => number} chance gives numbers in [0, 1)
   */
  constructor(ladder, chance) {
    this.ladder = ladder;
    this.chance = chance;
    this.attempt = 0;
  }

  nextDelay() {
    const ceiling = this.attempt === 0 ? 0 : Math.min(this.ladder.cap, this.ladder.base * 2 ** (this.attempt - 1));
    this.attempt += 1;
    return ceiling * this.chance();
  }

  reset() {
    this.attempt = 0;
  }
}

/**
 * The first of these moments; null where there is none.
 * @param {(number | null)[]} deadlines
 */
export const earliest = (...deadlines) => {
  const due = deadlines.filter((at) => at !== null);
  return due.length ? Math.min(...due) : null;
};
