// The common part of the machines: the table of cells, which is our Python phone's own (rules.js), and the way to take a step.

/**
 * @typedef {{type: string, socket?: number, place?: number, [field: string]: any}} Event
 * @typedef {{effect: string, [field: string]: any}} Effect
 * @typedef {Record<string, Record<string, string>>} Table A row for each state: the method that decides on each event.
 */

export class Machine {
  /** @param {{states: Record<string, object>, table: Table}} rules The first state is where it begins. */
  constructor({ states, table }) {
    this.state = Object.keys(states)[0];
    this.table = table;
  }

  /**
   * What the cell of this state and event decides. An event without a cell is ignored; docs/machines.md says why.
   * @param {Event} event
   * @param {number} now seconds on a clock that goes on in sleep
   * @returns {Effect[]}
   */
  decide(event, now) {
    const method = this.table[this.state][event.type];
    return method === undefined ? [] : /** @type {any} */ (this)[method](event, now);
  }
}
