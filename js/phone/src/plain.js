// Audio without numbers: for clouds that do not count, and for tracks.

import { SAMPLE_RATE, encodePlain } from "./frames.js";
import { RULES } from "./rules.js";
import { TrackTail } from "./track_tail.js";

/** @typedef {import("./cloud_socket.js").CloudSocket} CloudSocket */
/** @typedef {import("./frames.js").Frame} Frame */

const { QUEUE_FRAMES } = RULES.constants.sender;
const { REPLAY_SPEED } = RULES.constants.plain;
const { TRACK_DELAY } = RULES.constants.by_track;

const BURST = 0.03; // seconds that are made up for
const FULL = 160_000; // bytes that may wait in a socket: five seconds

export class Plain {
  /**
   * @param {() => number} clock
   * @param {import("./sender.js").RoomPort} room
   * @param {(path: "data" | "track" | "websocket", done: boolean) => void} result hears of each frame
   */
  constructor(clock, room, result) {
    this.clock = clock;
    this.room = room;
    this.result = result;
    this.counter = 0;
    this.tail = new TrackTail();
    this.unheardSince = Infinity; // capture time, seconds, of what the cloud heard last by the track; Infinity: it does not tell
    /** @type {Int16Array[]} That wait for the socket, the oldest first. */
    this.waiting = [];
    this.dueAt = 0; // when the next of them may be sent
  }

  /**
   * @param {Frame} frame
   * @param {"data" | "track" | "websocket"} path
   * @param {boolean} fallsBack the socket is in the place of a track
   */
  speak(frame, path, fallsBack) {
    if (path === "track") this.tail.note(frame); // the track carries it
    if (path !== "websocket") return this.result(path, path === "track" || this.intoRoom(frame.samples));
    // What went by a track that is heard no more goes first, from where the cloud says that it heard last.
    if (fallsBack) this.waiting.push(...this.tail.take(Math.min(this.unheardSince, this.clock()) * 1e6));
    this.waiting.push(frame.samples);
    while (this.waiting.length > QUEUE_FRAMES) this.waiting.shift();
  }

  /** At most REPLAY_SPEED times real time. @param {CloudSocket | null} socket */
  drain(socket) {
    const now = this.clock();
    this.dueAt = Math.max(this.dueAt, now - BURST);
    while (this.waiting.length && this.dueAt <= now) {
      const samples = /** @type {Int16Array} */ (this.waiting.shift());
      this.dueAt += samples.length / SAMPLE_RATE / REPLAY_SPEED;
      this.result("websocket", socket?.sendAudio(encodePlain(samples), FULL) ?? false);
    }
  }

  /** @param {Int16Array} samples */
  intoRoom(samples) {
    this.counter = (this.counter + 1) % 256;
    return this.room.send(encodePlain(samples, this.counter));
  }

  /**
   * The cloud says how many seconds ago it heard something from the room.
   * @param {number} ago
   * @param {number} trip the round trip to it
   */
  heardInRoom(ago, trip) {
    this.unheardSince = this.clock() - ago - trip - TRACK_DELAY;
  }

  // What waits was for a socket that is gone.
  forget() {
    this.waiting = [];
  }
}
