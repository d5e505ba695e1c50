// What is known of the watched session: seconds, gaps, events, levels, captions. Everything has a bound.

import { placed } from "../captions.js";

const MAX_SECONDS = 900;
const MAX_EVENTS = 400;
const MAX_CAPTIONS = 40;
const MAX_LEVELS = 300; // of a tenth of a second

export class Timeline {
  constructor() {
    this.forget();
  }

  forget() {
    this.session = null;
    this.start = 0;
    this.columns = new Map();
    this.gaps = [];
    this.events = [];
    this.captions = [];
    this.revised = 0; // times that something came that is not the newest
    this.interim = "";
    this.levels = [];
  }

  // `watched` of a message (docs/recorder.md).
  take(watched) {
    if (watched.full) this.forget();
    this.session = watched.session;
    this.gaps = watched.gaps;
    this.takeSeconds(watched);
    this.events = [...this.events, ...watched.events].slice(-MAX_EVENTS);
    if (watched.levels) this.takeLevels(watched.levels);
    for (const caption of watched.captions ?? []) this.takeCaption(caption);
  }

  takeSeconds({ columns, seconds, start_ms }) {
    if (!this.columns.size) {
      this.start = start_ms;
      columns.forEach((name) => this.columns.set(name, []));
    }
    const at = Math.round((start_ms - this.start) / 1000);
    columns.forEach((name, c) => {
      const kept = this.columns.get(name);
      seconds[c].forEach((value, i) => {
        while (kept.length < at + i) kept.push(null);
        if (at + i >= 0) kept[at + i] = value;
      });
    });
    const spare = Math.max(...[...this.columns.values()].map((kept) => kept.length)) - MAX_SECONDS;
    if (spare <= 0) return;
    for (const kept of this.columns.values()) kept.splice(0, spare);
    this.start += spare * 1000;
  }

  takeLevels({ start_ms, every_ms, dbfs }) {
    const last = this.levels.at(-1)?.at ?? 0;
    dbfs.forEach((value, i) => {
      const at = start_ms + i * every_ms;
      if (at > last) this.levels.push({ at, value });
    });
    this.levels.splice(0, Math.max(0, this.levels.length - MAX_LEVELS));
  }

  takeCaption({ at_ms, final, start_ms, ...row }) {
    if (row.gap === undefined) {
      if (!row.inserts) this.interim = final ? "" : row.text;
      if (!final || !row.text) return;
    }
    this.captions = placed(this.captions, { at: at_ms, start: start_ms, ...row }).slice(-MAX_CAPTIONS);
    if (row.gap !== undefined || row.inserts) this.revised += 1;
  }

  // The sum of some columns in one second; null: unknown.
  at(names, second) {
    let sum = null;
    for (const name of names) {
      const value = this.columns.get(name)?.[second] ?? null;
      if (value !== null) sum = (sum ?? 0) + value;
    }
    return sum;
  }

  get length() {
    return Math.max(0, ...[...this.columns.values()].map((kept) => kept.length));
  }
}
