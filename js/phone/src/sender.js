// Takes captured audio to the cloud by the routes that are open now, with the rules of phone/sender.py.
//
// Frames are coded one after the other. What a route does not take in time is kept with its number, and the cloud asks
// for it.

import { Coder, present, recoded, repaired, sizeOf } from "./coding.js";
import { CODING_OPUS, FLAG_PRESENCE, FLAG_REPAIR, FLAG_REPLAYED, TOPIC_NUMBERED, encodePcm } from "./frames.js";
import { Insistence } from "./insisting.js";
import { Lane } from "./lane.js";
import { Missing } from "./missing.js";
import { Plain } from "./plain.js";
import { RULES } from "./rules.js";
import { chooseRoutes, presenceInterval } from "./routes.js";
import { Sending } from "./sending.js";
import { LEVELS, STATIC } from "./sending_levels.js";
import { Unheard } from "./unheard.js";
import { Work } from "./work.js";

/** @typedef {import("./capture.js").Capture} Capture */
/** @typedef {import("./cloud_socket.js").CloudSocket} CloudSocket */
/** @typedef {import("./coding.js").Outgoing} Outgoing */
/** @typedef {import("./coding.js").OpusFactory} OpusFactory */
/** @typedef {import("./frames.js").Frame} Frame */
/** @typedef {import("./sending.js").Route} Route */

const { FILL_AFTER, QUEUE_FRAMES, TAILS } = RULES.constants.sender;
const { ROOM_AGE } = RULES.constants.lanes;
const { SPARE_AFTER } = RULES.constants.beside;
const { LAG } = RULES.constants.sockets_beside;
const { TAIL } = RULES.constants.audio_routes;

const NARROWEST = LEVELS[LEVELS.length - 1];
const FULL = 160_000; // bytes that may wait in a socket where nothing is to be delayed
const LEAST_AHEAD = 6_000;
const LATELY = 1; // seconds
const AHEAD = 0.5; // seconds of numbered audio that may wait in a socket whose cloud answers no pings

/** @param {import("./sending_levels.js").Level} level */
const ahead = (level) => Math.max(LEAST_AHEAD, (AHEAD * level.bitRate) / 8);

/**
 * @typedef {object} RoomPort Where audio goes by data packets.
 * @property {boolean} joined
 * @property {(bytes: Uint8Array, topic?: string) => boolean} send a lossy packet to all; false: it takes no more now
 */

export class Sender {
  /**
   * @param {object} parts
   * @param {Capture} parts.capture
   * @param {RoomPort} parts.room
   * @param {"data" | "track" | "websocket"} parts.transport
   * @param {() => number} parts.clock
   * @param {() => boolean} parts.microphoneOn
   * @param {{want: () => void, socket: CloudSocket | null}} parts.beside the second socket
   * @param {OpusFactory | null} parts.opus
   * @param {(error: Error) => void} parts.onFailure
   */
  constructor({ capture, room, transport, clock, microphoneOn, beside, opus, onFailure }) {
    this.capture = capture;
    this.room = room;
    this.transport = transport;
    this.clock = clock;
    this.microphoneOn = microphoneOn;
    this.beside = beside;
    this.opus = opus;
    this.onFailure = onFailure;
    this.numbered = false;
    /** @type {{state: string, code?: string, transport?: string} | null} What the cloud said last on this socket. */
    this.told = null;
    /** @type {Record<string, number>} Frames with samples, by path. */
    this.sent = { data: 0, track: 0, websocket: 0 };
    this.counts = [0, 0]; // frames into the room and on sockets, presence included, repetitions left out
    this.unsent = 0;
    this.replayed = 0;
    this.sending = new Sending();
    this.level = this.sending.level; // of what was sent last
    this.coder = new Coder(opus, capture);
    this.repairs = new Coder(opus, capture);
    this.epoch = capture.epoch;
    /** @type {CloudSocket | null} Open and acknowledged. */
    this.socket = null;
    this.missing = new Missing(clock, capture);
    this.insistence = new Insistence(capture);
    this.insistent = new Coder(opus, capture);
    this.unheard = new Unheard(clock, capture);
    this.spare = new Coder(opus, capture);
    this.queuedAt = 0;
    this.aloneSince = Infinity; // since when no room carries audio
    this.presentAt = 0;
    this.tails = 0;
    this.repeated = 0; // what the sockets had sent again when they were last looked at
    this.plain = new Plain(clock, room, (path, done) => {
      if (!done) this.unsent += 1;
      else this.sent[path] += 1;
      this.counts[Number(path === "websocket")] += Number(done);
    });
    this.work = new Work(QUEUE_FRAMES, {
      refused: () => (this.unsent += 1), // what is not sent now is kept, and asked for
      failed: (error) => this.failed(error),
    });
    const wanted = (/** @type {Outgoing} */ frame, /** @type {number} */ waited) => waited <= ROOM_AGE;
    this.lanes = {
      livekit: new Lane(clock, {
        deliver: (bytes) => room.send(bytes, TOPIC_NUMBERED),
        result: (frame, done) => this.passed(frame, done),
        wanted,
      }),
      websocket: new Lane(clock, {
        deliver: (bytes) => this.onto(this.socket, bytes),
        result: (frame, done) => this.carry(frame, done),
        wanted: (frame, waited) => (frame.flags & FLAG_PRESENCE ? wanted(frame, waited) : this.isKept(frame)),
      }),
    };
    this.besideLane = new Lane(
      clock,
      {
        deliver: (bytes) => this.onto(beside.socket, bytes),
        result: () => {},
        wanted: (frame) => beside.socket !== null && this.isKept(frame),
      },
      LAG,
    );
  }

  /**
   * @param {CloudSocket | null} socket
   * @param {Uint8Array} bytes
   */
  onto(socket, bytes) {
    const { level } = this.sending;
    return socket?.sendPaced(bytes, level.bitRate / 8, ahead(level)) ?? false;
  }

  /** @param {Outgoing} frame */
  isKept(frame) {
    return frame.epoch !== this.capture.epoch || this.capture.part(frame, frame.stop).length > 0;
  }

  /**
   * From now on this socket counts, which the cloud accepted with `ack`; null: there is none.
   * @param {CloudSocket | null} socket
   * @param {{codings?: number[]} | null} ack
   * @param {number} trip the round trip to the cloud, seconds
   */
  attach(socket, ack = null, trip = 0) {
    this.work.release();
    this.socket = socket;
    this.told = null;
    this.missing.beginSocket();
    this.plain.forget();
    if (socket === null) this.lanes.websocket.clear();
    if (ack) {
      const reports = this.numbered && this.opus !== null && (ack.codings ?? []).includes(CODING_OPUS);
      this.sending.begin(reports, this.clock(), trip);
    }
  }

  /**
   * Before anything else that a backend hears: where that begins which it may ask for.
   * @param {CloudSocket} socket
   */
  introduce(socket) {
    if (this.numbered) socket.sendAudio(encodePcm(this.capture.beginning()), FULL);
  }

  // ---- routes

  /** @param {boolean} both */
  routes(both) {
    const toldSocket = this.told?.transport === "websocket";
    const room = this.room.joined && this.transport !== "websocket" && !toldSocket;
    return chooseRoutes({ room, socket: this.socket !== null, both, reliable: this.sending.level.reliable });
  }

  // The way of the next frame; null while there is none. Where both ways are used, the room.
  get path() {
    const routes = this.routes(this.sending.level.both);
    if (!routes.length) return null;
    if (!routes.includes("livekit")) return "websocket";
    return this.transport === "track" ? "track" : "data";
  }

  // ---- speech

  /**
   * Sends a captured frame soon; never waits.
   * @param {Frame} frame
   */
  speak(frame) {
    this.queuedAt = this.clock();
    this.tails = TAILS;
    if (!this.numbered) return this.speakPlain(frame);
    return this.work.add(async () => {
      if (frame.epoch !== this.epoch) this.beginEpoch(frame.epoch);
      await this.dispatch(await this.coder.code(frame, this.sending.level));
    });
  }

  // A coder that fails is not asked again: PCM goes on, and what it had swallowed is asked for.
  /** @param {Error} error */
  failed(error) {
    if (this.opus === null || this.sending.level.coding === "pcm") return this.onFailure(error);
    this.opus = null;
    this.coder = new Coder(null, this.capture);
    this.repairs = new Coder(null, this.capture);
    this.insistent = new Coder(null, this.capture);
    this.spare = new Coder(null, this.capture);
    this.sending.begin(false, this.clock());
  }

  /** Positions begin anew. @param {number} epoch */
  beginEpoch(epoch) {
    this.epoch = epoch;
    this.coder.close();
    this.coder = new Coder(this.opus, this.capture);
    this.sending.forget(this.clock());
    this.missing.beginEpoch();
  }

  /** @param {Outgoing[]} frames */
  async dispatch(frames) {
    const now = this.clock();
    const { level } = this.sending;
    const routes = this.routes(level.both);
    const unheard = this.takeUnheard(routes, now);
    const doubled = this.lookAtSockets(routes, now) && unheard === null;
    for (const again of await repaired(unheard ?? [], NARROWEST, this.spare)) this.besideLane.put(again);
    if (level !== this.level) {
      this.level = level;
      const { websocket } = this.lanes;
      if (level.coding !== "pcm" && websocket.items.length) {
        const again = await recoded(websocket.takeBack(), this.capture, level, this.repairs);
        frames = [...again, ...frames];
      }
    }
    for (const frame of frames) {
      for (const route of routes) {
        this.sending.sent(route, frame.stop, sizeOf(frame), now);
        if (route !== "websocket") this.lanes.livekit.put(frame, level.copies);
        else {
          this.putOnSocket(frame);
          if (doubled) this.besideLane.put(frame);
        }
      }
      if (!routes.length) this.unsent += 1;
    }
    const backlog = routes.length ? Math.min(...routes.map((route) => this.lanes[route].backlog(now))) : 0;
    this.sending.judge(now, backlog, this.socket?.pace.queued ?? Infinity);
  }

  /**
   * Whether audio goes by the second socket, too.
   * @param {Route[]} routes
   * @param {number} now
   */
  lookAtSockets(routes, now) {
    const repeated = (this.socket?.pace.repeated ?? 0) + (this.beside.socket?.pace.repeated ?? 0);
    if (repeated > this.repeated) this.sending.repeated(repeated - this.repeated, now);
    this.repeated = repeated;
    if (routes.length !== 1 || routes[0] !== "websocket") {
      this.aloneSince = Infinity;
      return false;
    }
    this.aloneSince = Math.min(this.aloneSince, now);
    const doubles = this.sending.doubles(now);
    if (doubles || (this.sending.spares && now - this.aloneSince >= SPARE_AFTER)) this.beside.want();
    return doubles && this.beside.socket !== null;
  }

  /**
   * What the second socket gets while the first is silent; null: it is not.
   * @param {Route[]} routes
   * @param {number} now
   */
  takeUnheard(routes, now) {
    const { pace, silentSince } = this.socket ?? {};
    const alone = routes.length === 1 && routes[0] === "websocket" && this.beside.socket !== null;
    if (!alone || !pace?.trip || silentSince === undefined) return null;
    return this.unheard.take(now - silentSince, pace.trip.now);
  }

  /** @param {Outgoing} frame */
  putOnSocket(frame) {
    this.missing.carry(frame.position, frame.stop);
    this.lanes.websocket.put(frame);
  }

  /**
   * What the room does not take goes by the socket.
   * @param {Outgoing} frame
   * @param {boolean} done
   */
  passed(frame, done) {
    this.count(0, frame, done);
    if (done || frame.flags & FLAG_PRESENCE) return; // presence alone waits for the room's channels to open
    if (this.room.joined) this.sending.refused(this.clock());
    if (this.socket && !this.sending.level.both) this.putOnSocket(frame);
  }

  /**
   * What the socket did not take may be asked for again.
   * @param {Outgoing} frame
   * @param {boolean} done
   */
  carry(frame, done) {
    if (!done) this.missing.drop();
    this.count(1, frame, done);
  }

  /**
   * @param {0 | 1} where
   * @param {Outgoing} frame
   * @param {boolean} done
   */
  count(where, frame, done) {
    if (frame.flags & (FLAG_REPAIR | FLAG_REPLAYED)) this.replayed += Number(done);
    else if (done) {
      this.counts[where] += 1;
      if (!(frame.flags & FLAG_PRESENCE)) this.sent[where ? "websocket" : "data"] += 1;
    } else if (!(frame.flags & FLAG_PRESENCE) && !this.sending.level.both) this.unsent += 1;
  }

  // Somebody does, or did just now.
  get speaks() {
    return this.clock() - this.queuedAt < LATELY;
  }

  /** Audio without numbers. @param {Frame} frame */
  speakPlain(frame) {
    const { path, plain } = this;
    if (path === null) this.unsent += 1;
    else plain.speak(frame, path, this.transport === "track");
    plain.drain(this.socket);
  }

  /**
   * What the cloud says: how many seconds ago it heard something from the room.
   * @param {number} ago
   */
  heardInRoom(ago) {
    this.plain.heardInRoom(ago, this.socket?.pace.trip?.now ?? 0);
  }

  // ---- presence

  // Says where the stream stands now.
  bePresent() {
    this.presentAt = this.clock();
    if (this.numbered) this.work.add(async () => this.bePresent_());
  }

  // On the room always; on the socket where audio goes by it and none did just now, but not while the room is only being
  // joined. Where audio goes another way, presence must not overtake it.
  bePresent_() {
    const { level, capture } = { level: this.sending.level, capture: this.capture };
    const here = capture.presence(this.microphoneOn());
    if (this.room.joined) {
      const aside = level !== STATIC && !this.routes(level.both).includes("livekit");
      this.lanes.livekit.put(present(aside ? capture.behind() : here));
    }
    const settled = this.transport === "websocket" || (this.told !== null && this.told.state !== "connecting");
    const speaks = this.microphoneOn() && this.clock() - this.queuedAt < TAIL;
    if (settled && !speaks && this.path === "websocket") this.lanes.websocket.put(present(here));
  }

  // To be called some times a second: sends what waits, and keeps numbered audio from being silent.
  pulse() {
    const now = this.clock();
    if (this.coder.rest && now - this.queuedAt > FILL_AFTER) {
      this.work.add(async () => this.dispatch(await this.coder.flush(this.sending.level)));
    }
    this.drain();
    this.plain.drain(this.socket);
    const interval = this.presenceDue();
    // While audio goes by the socket, presence goes on in the room: only so is it known that it works again.
    const spokenAt = this.path === "websocket" && this.room.joined ? 0 : this.queuedAt;
    if (now - Math.max(this.presentAt, spokenAt) < interval) return;
    this.tails = Math.max(0, this.tails - 1);
    this.bePresent();
    if (this.numbered) this.sendMissing();
  }

  // Sends what the routes take now.
  drain() {
    for (const lane of [...Object.values(this.lanes), this.besideLane]) lane.drain();
  }

  presenceDue() {
    return presenceInterval(this.told?.state ?? null, this.told?.code ?? null, this.tails > 0);
  }

  // ---- what was missed

  /**
   * What the cloud says of the audio: how to send, and what to send again.
   * @param {{epoch: number, room?: number[], socket?: number[]}} ack
   */
  acknowledged(ack) {
    if (ack.epoch === this.capture.epoch) {
      /** @type {Map<Route, import("./route_reports.js").Arrived>} */
      const said = new Map();
      if (ack.room) said.set("livekit", arrived(ack.room));
      if (ack.socket) said.set("websocket", arrived(ack.socket));
      this.sending.reported(said, this.clock());
    }
    if (this.numbered) this.sendMissing();
  }

  sendMissing() {
    const measured = this.sending.level !== STATIC;
    for (const { frames, by } of this.missing.due(measured, this.roomCarriesMore)) {
      this.work.add(async () => {
        for (const again of await repaired(frames, this.sending.level, this.repairs)) {
          if (by.room && this.room.joined) this.lanes.livekit.put(again);
          if (by.socket && this.socket) this.putOnSocket(again);
        }
      });
    }
  }

  // The cloud reports, and the link is not known to be full.
  get roomCarriesMore() {
    const { level } = this.sending;
    return this.routes(true).includes("livekit") && level !== STATIC && level !== NARROWEST;
  }

  // To be called some times a second: the newest goes into the room again while the cloud is silent.
  insist() {
    const { pace, silentSince } = this.socket ?? {};
    if (!pace?.trip || silentSince === undefined) return;
    const newest = this.insistence.look(this.clock() - silentSince, pace.trip.now);
    if (!newest.length || !this.numbered || !this.roomCarriesMore) return;
    this.work.add(async () => {
      for (const again of await repaired(newest, NARROWEST, this.insistent)) this.lanes.livekit.put(again);
    });
  }

  // To be called for each captured frame, after it was sent, and some times a second: only while no newer audio waits.
  replay() {
    if (this.socket && this.missing.late.length) this.work.add(() => this.replayDue());
  }

  async replayDue() {
    while (this.socket && !this.lanes.websocket.items.length) {
      const frames = this.missing.next();
      if (!frames.length) return;
      for (const again of await repaired(frames, this.sending.level, this.repairs, FLAG_REPLAYED)) {
        this.lanes.websocket.put(again);
      }
    }
  }

  close() {
    this.work.release();
    this.coder.close();
    this.repairs.close();
    this.insistent.close();
    this.spare.close();
  }
}

/** @param {number[]} told */
const arrived = ([frames, stop, ms]) => ({ frames, stop, late: ms / 1000 });
