// How the audio of the microphone is sent: by which routes, in which coding, and how much of it twice.
//
// The rules are those of core/sending.py, its levels and numbers come from there (rules.js), and a test lets both decide
// the same schedules.

import { RULES } from "./rules.js";

const { CALM, CHANGE_EVERY, CLEAN, FEW, FULL, FULL_PCM, GROWING, HEADERS, HEADROOM, HISTORY } = RULES.constants.sending;
const { LONG, LOSSY, QUEUED, QUIET, REMEMBER, REPEATS, SHORT, STALLED, STALLED_ALL } = RULES.constants.sending;
const { START, TRIPS, UNREPORTED, WINDOW } = RULES.constants.sending;

/**
 * @typedef {object} Level One way of sending.
 * @property {string} name
 * @property {string} coding pcm or opus
 * @property {number} bitRate of the coded audio
 * @property {number} frameMs the longest frame; 0: as captured
 * @property {number} copies earlier packets that each frame in the room carries again
 * @property {boolean} both by both routes
 * @property {boolean} reliable the one route is the socket where it can be had
 * @property {number} rate on the wire in bit/s
 */
/** @typedef {"livekit" | "websocket"} Route */
/** @typedef {{frames: number, stop: number, late: number}} Arrived What the cloud says of one route. */

/** @type {Level[]} From the best link to the worst. */
export const LEVELS = RULES.constants.sending.LEVELS;
/** @type {Level} */
export const STATIC = RULES.constants.sending.STATIC;
const LOSSY_LEVEL = LEVELS.findIndex((level) => level.coding === "opus");
const LAST_BOTH = LEVELS.reduce((last, level, index) => (level.both ? index : last), 0);
const NARROWEST = LEVELS.length - 1;

/**
 * The first entry whose stop is after `position`.
 * @param {{stop: number}[]} entries in order
 * @param {number} position
 */
function after(entries, position) {
  let [low, high] = [0, entries.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (entries[middle].stop > position) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** @param {number[]} numbers */
const least = (numbers) => (numbers.length ? Math.min(...numbers) : 0);
/** @param {number[]} numbers */
const most = (numbers) => (numbers.length ? Math.max(...numbers) : 0);

// What one route was given, and what the cloud says of it.
class Track {
  constructor() {
    /** @type {{stop: number, at: number, frames: number, bits: number}[]} */
    this.sent = [];
    this.lastLate = [0, 0];
    /** @type {[number, number][]} When, and how late, of each report in WINDOW. */
    this.latenesses = [];
    /** @type {Arrived | null} */
    this.said = null;
    this.expected = 0;
    /** @type {{at: number, expected: number, arrived: number, bits: number}[]} */
    this.window = [];
  }

  /**
   * @param {number} stop
   * @param {number} size
   * @param {number} now
   */
  put(stop, size, now) {
    const last = this.sent.at(-1) ?? { stop: 0, at: now, frames: 0, bits: 0 };
    if (stop < last.stop) return;
    this.sent.push({ stop, at: now, frames: last.frames + 1, bits: last.bits + 8 * size });
    if (this.sent.length > HISTORY) this.sent.shift();
  }

  /**
   * @param {Arrived} said
   * @param {number} now
   */
  report(said, now) {
    const former = this.said;
    this.said = said;
    const index = after(this.sent, said.stop) - 1;
    if (index < 0) return;
    const entry = this.sent[index];
    if (former === null || (said.frames > former.frames && entry.stop > former.stop)) {
      this.lastLate = [this.lastLate[1], said.late];
      this.latenesses.push([now, said.late]);
      while (this.latenesses[0][0] < now - WINDOW) this.latenesses.shift();
    }
    if (former !== null && said.frames >= former.frames && entry.stop > former.stop) {
      const expected = Math.max(1, entry.frames - this.expected);
      const arrived = Math.min(said.frames - former.frames, expected);
      const before = this.sent[Math.max(0, index - expected)];
      this.window.push({ at: now, expected, arrived, bits: (arrived / expected) * (entry.bits - before.bits) });
    } else if (former === null) {
      this.window.push({ at: now, expected: 0, arrived: 0, bits: 0 });
    }
    this.expected = entry.frames;
    while (this.window.length && this.window[0].at < now - WINDOW) this.window.shift();
  }

  /**
   * Seconds since the oldest frame was sent that the cloud has not reported yet.
   * @param {number} now
   */
  unanswered(now) {
    const entry = this.sent[after(this.sent, this.said?.stop ?? -1)];
    return entry === undefined ? 0 : now - entry.at;
  }

  get loss() {
    const expected = this.window.reduce((sum, entry) => sum + entry.expected, 0);
    return expected < FEW ? 0 : 1 - this.window.reduce((sum, entry) => sum + entry.arrived, 0) / expected;
  }

  /**
   * Seconds by which its quickest frames are late.
   * @param {number} reportedAt the last report of any route
   */
  late(reportedAt) {
    return Math.max(Math.min(...this.lastLate), this.unanswered(reportedAt) - UNREPORTED);
  }

  get fills() {
    const known = this.latenesses;
    const grown = known.length > 1 && known[known.length - 1][1] - known[0][1] > GROWING;
    return this.loss > LOSSY || grown;
  }

  get rate() {
    if (this.window.length < 2) return 0;
    const [begun, ...rest] = this.window;
    const seconds = Math.max(0.1, rest[rest.length - 1].at - begun.at);
    return rest.reduce((sum, entry) => sum + entry.bits, 0) / seconds;
  }

  /**
   * Bits a second that it was given in WINDOW, headers included.
   * @param {number} now
   */
  offered(now) {
    const { sent } = this;
    const [first, last] = [sent.find(({ at }) => at >= now - WINDOW) ?? sent[sent.length - 1], sent[sent.length - 1]];
    return (last.bits - first.bits) / Math.max(0.1, now - first.at);
  }
}

// The sender of one phone: `sent` and `reported` feed it, `level` is what holds now. Times are seconds.
export class Sending {
  constructor() {
    /** @type {number | null} */
    this.index = null;
    /** @type {Map<Route, Track>} */
    this.tracks = new Map();
    this.changedAt = -Infinity;
    this.calmSince = -Infinity;
    this.ceiling = Infinity;
    this.ceilingAt = -Infinity;
    this.trip = 0; // the round trip to the cloud when its socket was new
    this.doubtful = false; // the thinnest level was a guess, since nothing was reported any more
    this.reportedAt = -Infinity;
    /** @type {"untold" | "late" | "done" | "wanted"} What a probe has told, or that another one is to tell more. */
    this.probe = "untold";
    this.queued = Infinity;
    /** @type {[number, number][]} When, and how many segments sockets sent again, in WINDOW. */
    this.repeats = [];
  }

  get level() {
    return this.index === null ? STATIC : LEVELS[this.index];
  }

  /**
   * A new socket was acknowledged, whose round trip takes `trip` seconds. A cloud that `reports` is measured; what was
   * learned of the link stays.
   * @param {boolean} reports
   * @param {number} now
   * @param {number} trip
   */
  begin(reports, now, trip = 0) {
    this.forget(now);
    this.trip = trip;
    if (!reports) this.index = null;
    else if (this.index === null) this.index = trip >= LONG ? LOSSY_LEVEL : START;
  }

  /** A loss on the way to the cloud costs more than half a second. */
  get isLong() {
    return this.index !== null && this.trip >= LONG;
  }

  // Nothing is known of the link yet.
  get isNew() {
    return this.index !== null && ["untold", "late"].includes(this.probe) && this.changedAt === -Infinity;
  }

  // A probe is to tell whether the link carries more than now.
  get wantsProbe() {
    return this.index !== null && this.probe === "wanted";
  }

  /**
   * A probe is late: the link carries no more than `rate` bit/s, or loses much. Until more is known audio is sent as
   * suits both.
   * @param {number} rate
   * @param {number} now
   */
  doubted(rate, now) {
    if (!this.isNew) return;
    this.probe = "late";
    this.use(Math.max(LAST_BOTH, fitting(rate)), now);
  }

  /**
   * A probe passed at `rate` bit/s: a link that is narrower than PCM is never filled with it. Null: it told nothing; if
   * it was late, repetitions of what was lost explain it. `repeated`: of its few packets some were.
   * @param {number | null} rate
   * @param {number} now
   * @param {boolean} repeated
   */
  probed(rate, now, repeated = false) {
    if (this.wantsProbe) return this.proved(rate, now);
    if (!this.isNew) return;
    const late = this.probe === "late";
    this.probe = "done";
    if (rate !== null && rate < LEVELS[START].rate) {
      Object.assign(this, { ceiling: rate, ceilingAt: now });
      this.use(fitting(rate), now);
    } else if (late || repeated) {
      this.use(LOSSY_LEVEL, now);
    }
  }

  /**
   * To the next better level, unless the link carries too little.
   * @param {number | null} rate
   * @param {number} now
   */
  proved(rate, now) {
    this.probe = "done";
    const better = (this.index ?? 0) - 1;
    if (now - this.calmSince <= CALM || better < 0) return;
    if (rate === null || rate >= LEVELS[better].rate) this.change(better, now);
    else Object.assign(this, { ceiling: rate, ceilingAt: now, calmSince: now });
  }

  /**
   * Sockets sent so many segments again: the link loses packets, though nothing of it is missing in the end; or it is
   * full, and then its round trip tells.
   * @param {number} segments
   * @param {number} now
   */
  repeated(segments, now) {
    this.calmSince = now;
    this.repeats.push([now, segments]);
    while (this.repeats[0][0] < now - WINDOW) this.repeats.shift();
    const many = this.repeats.reduce((sum, [, count]) => sum + count, 0) >= REPEATS;
    const loses = many && this.queued < QUEUED && this.ceiling === Infinity;
    if (loses && this.index !== null && this.index < LOSSY_LEVEL && now - this.changedAt >= CHANGE_EVERY) {
      this.change(LOSSY_LEVEL, now);
    }
  }

  /** Whether a second socket may stand by: the link is measured, and not known to be narrow or full. */
  get spares() {
    const { index, isNew, ceiling } = this;
    return index !== null && index <= LOSSY_LEVEL && !isNew && ceiling === Infinity && this.queued < QUEUED;
  }

  /**
   * Whether a second socket is worth its bytes: the link loses packets, or a loss would cost much, and it is not known to
   * be full.
   * @param {number} now
   */
  doubles(now) {
    const last = this.repeats.at(-1);
    const repeats = last !== undefined && now - last[0] < CALM;
    return this.level === LEVELS[LOSSY_LEVEL] && (repeats || this.isLong) && this.queued < QUEUED;
  }

  /**
   * The room takes no more: the link is full, or nothing of what it got is acknowledged. A narrow stream is what it may
   * still carry.
   * @param {number} now
   */
  refused(now) {
    if (this.index !== null && this.index < LOSSY_LEVEL && now - this.changedAt >= CHANGE_EVERY) {
      this.use(LAST_BOTH, now);
    }
  }

  /**
   * What was sent so far will not be reported; what was learned of the link stays.
   * @param {number} now
   */
  forget(now) {
    this.tracks = new Map();
    this.calmSince = now;
  }

  /**
   * A frame with new samples before `stop` went out, `size` bytes of it.
   * @param {Route} route
   * @param {number} stop
   * @param {number} size
   * @param {number} now
   */
  sent(route, stop, size, now) {
    if (this.index === null) return;
    const track = this.tracks.get(route) ?? new Track();
    this.tracks.set(route, track);
    track.put(stop, size + HEADERS[route], now);
  }

  /**
   * What the cloud says of each route. `judge` decides later: reports that a link has held up come together, and only
   * the last of them says how things are.
   * @param {Map<Route, Arrived>} arrived
   * @param {number} now
   */
  reported(arrived, now) {
    if (this.index === null) return;
    this.reportedAt = now;
    for (const [route, said] of arrived) this.tracks.get(route)?.report(said, now);
  }

  /**
   * Looks at the link. `backlog`: seconds that the oldest frame waits for every route that is open. `queued`: seconds by
   * which the socket's round trip exceeds its least; infinite where that is not known.
   * @param {number} now
   * @param {number} backlog
   * @param {number} queued
   */
  judge(now, backlog = 0, queued = Infinity) {
    if (this.index === null) return;
    if (queued < Infinity) this.queued = queued;
    const carrying = new Map(
      [...this.tracks].filter(([, { sent }]) => sent.length > 0 && now - sent[sent.length - 1].at < STALLED),
    );
    const tracks = [...carrying.values()];
    const loss = most(tracks.map((track) => track.loss));
    const unanswered = tracks.map((track) => track.unanswered(now));
    const stalled = unanswered.some((seconds) => seconds > STALLED + this.trip);
    const late = tracks.filter(({ said }) => said !== null).map((track) => track.late(this.reportedAt));
    if (loss > CLEAN || stalled || most(late) > QUIET || backlog > QUIET) this.calmSince = now;
    if (now - this.ceilingAt > REMEMBER) this.ceiling = Infinity;
    if (now - this.changedAt < CHANGE_EVERY) return;
    const behind = Math.max(least(late), backlog) > (this.index < LOSSY_LEVEL ? FULL_PCM : FULL);
    const isQueued = behind && this.isQueued(carrying, now);
    if (isQueued) {
      this.ceiling = tracks.reduce((sum, track) => sum + track.rate, 0);
      this.ceilingAt = now;
      const down = backlog > FULL || tracks.some((track) => track.fills) ? NARROWEST : LAST_BOTH;
      this.change(Math.max(this.index, Math.min(down, fitting(this.ceiling, this.index + 1))), now);
    } else if (unanswered.length > 0 && Math.min(...unanswered) > STALLED_ALL + TRIPS * this.trip) {
      this.doubtful ||= this.index < NARROWEST;
      this.change(NARROWEST, now);
    } else if (this.doubtful && tracks.length > 0 && !stalled) {
      this.doubtful = false;
      this.use(LOSSY_LEVEL, now);
    } else if (loss > LOSSY && (this.index < LOSSY_LEVEL || this.ceiling === Infinity)) {
      this.change(LOSSY_LEVEL, now);
    } else if ((stalled || behind) && this.index < LOSSY_LEVEL) {
      this.use(LOSSY_LEVEL, now);
    } else if (this.index > 0 && now - this.calmSince > CALM) {
      const better = this.index - 1;
      const fits = LEVELS[better].rate <= HEADROOM * this.ceiling;
      if ((better < LOSSY_LEVEL && this.isLong) || !fits) return;
      if (LEVELS[better].rate > LEVELS[this.index].rate) this.probe = "wanted";
      else this.change(better, now);
    }
  }

  /**
   * Late audio waits in a queue: always where it is late in the room, too, which repeats nothing; on the socket alone
   * where its round trip tells, or where much less arrives than is sent.
   * @param {Map<Route, Track>} carrying
   * @param {number} now
   */
  isQueued(carrying, now) {
    const tracks = [...carrying.values()];
    const arrives = tracks.reduce((sum, track) => sum + track.rate, 0);
    const offered = tracks.reduce((sum, track) => sum + track.offered(now), 0);
    return carrying.has("livekit") || this.queued > QUEUED || (arrives > 0 && arrives < SHORT * offered);
  }

  /**
   * To a level that was measured to be right.
   * @param {number} index
   * @param {number} now
   */
  change(index, now) {
    if (this.index === null || index === this.index) return;
    if (index > this.index) this.changedAt = now;
    this.use(index, now);
  }

  /**
   * @param {number} index
   * @param {number} now
   */
  use(index, now) {
    if (index === this.index) return;
    Object.assign(this, { index, calmSince: now });
    for (const track of this.tracks.values()) track.lastLate = [0, 0];
  }
}

/**
 * The best level from `first` on that a link of this rate carries.
 * @param {number} rate
 * @param {number} first
 */
function fitting(rate, first = START) {
  const found = LEVELS.findIndex((level, index) => index >= first && level.rate <= HEADROOM * rate);
  return found < 0 ? NARROWEST : found;
}
