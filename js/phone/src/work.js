// One piece of work after the other, so that presence never overtakes audio that is still being coded.

export class Work {
  /**
   * @param {number} most pieces that may wait
   * @param {object} on
   * @param {() => void} on.refused too many wait: the coder is stuck
   * @param {(error: Error) => void} on.failed
   */
  constructor(most, { refused, failed }) {
    this.most = most;
    this.refused = refused;
    this.failed = failed;
    this.waiting = 0;
    this.done = Promise.resolve(); // what was to be done by now is
    this.release = () => {}; // ends `hold`
  }

  /** @param {() => Promise<void>} piece */
  add(piece) {
    if (this.waiting >= this.most) return this.refused();
    this.waiting += 1;
    this.done = this.done
      .then(piece)
      .catch((error) => this.failed(error))
      .finally(() => (this.waiting -= 1));
  }

  // What comes from now on waits until `release`.
  hold() {
    const released = new Promise((done) => (this.release = () => done(undefined)));
    this.done = this.done.then(() => released).then(() => {});
  }
}
