// How the audio of the microphone is sent: by which routes, in which coding, and how much of it twice.
//
// The rules are those of core/sending.py, its levels and numbers come from there (rules.js), and a test lets both decide
// the same schedules.

import { RouteReports } from "./route_reports.js";
import { RULES } from "./rules.js";
import { HEADERS, LAST_BOTH, LEVELS, LOSSY_LEVEL, NARROWEST, START, STATIC } from "./sending_levels.js";

const { CALM, CHANGE_EVERY, CLEAN, FULL, FULL_PCM, HEADROOM, LONG } = RULES.constants.sending;
const { QUEUED, QUIET, REMEMBER, REPEATS, SHORT, STALLED, STALLED_ALL, TRIPS } = RULES.constants.sending;
const { LOSSY, WINDOW } = RULES.constants.route_reports;

/** @typedef {"livekit" | "websocket"} Route */
/** @typedef {import("./route_reports.js").Arrived} Arrived */

/** @param {number[]} numbers */
const least = (numbers) => (numbers.length ? Math.min(...numbers) : 0);
/** @param {number[]} numbers */
const most = (numbers) => (numbers.length ? Math.max(...numbers) : 0);

// The sender of one phone: `sent` and `reported` feed it, `level` is what holds now. Times are seconds.
export class Sending {
  constructor() {
    /** @type {number | null} */
    this.index = null;
    /** @type {Map<Route, RouteReports>} */
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
    const track = this.tracks.get(route) ?? new RouteReports();
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
   * where its round trip tells, or where much less arrives than is sent. On a long way few reports come in WINDOW, so that
   * alone says nothing there.
   * @param {Map<Route, RouteReports>} carrying
   * @param {number} now
   */
  isQueued(carrying, now) {
    const tracks = [...carrying.values()];
    const arrives = tracks.reduce((sum, track) => sum + track.rate, 0);
    const offered = tracks.reduce((sum, track) => sum + track.offered(now), 0);
    const isShort = arrives > 0 && arrives < SHORT * offered && !this.isLong;
    return carrying.has("livekit") || this.queued > QUEUED || isShort;
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
