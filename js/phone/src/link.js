// The phone's link to its cloud: its socket, its place in the room, and the state that a person is shown.
//
// The rules and words are those of core/phone_link.py, as in socket.js.

import { earliest } from "./backoff.js";
import { FROZEN, PhonePlace } from "./place.js";
import { RULES } from "./rules.js";
import { PhoneSocket } from "./socket.js";

/** @typedef {import("./machine.js").Event} Event */
/** @typedef {import("./machine.js").Effect} Effect */

const { STOOD_STILL, NOTICED } = RULES.constants.phone_link;
const { muted: MUTED } = RULES.wire;
const DEAD_SOUND = new Set(RULES.constants.phone_link.DEAD_SOUND); // beside `live`: no sound of a living microphone

const OF_SOCKET = new Set([
  "Start",
  "Accepted",
  "SocketFailed",
  "SocketClosed",
  "MessageReceived",
  "NetworkChanged",
  "NetworkLost",
  "Woke",
  "Switch",
  "Stop",
  "Tick",
]);
const OF_PLACE = new Set(["PlaceJoined", "PlaceFailed", "PlaceLost", "PlaceLeft", "Narrowed"]);

const UNHEARD = "you are connected, but nothing is heard";
/** @param {string} situation @param {string} text @param {number | null} [retryAt] @returns {Effect} */
const tell = (situation, text, retryAt = null) => ({ effect: "Tell", situation, text, retryAt });
const RENEWING = tell("renewing", `${UNHEARD}: the phone's place in the room is being renewed`);
const OFFLINE = tell("offline", "there is no network; it goes on as soon as there is one");

export class PhoneLink {
  /**
   * Begins with {type: "Start"}.
   * @param {() => number} chance gives numbers in [0, 1)
   * @param {boolean} room audio is to travel through a LiveKit room
   */
  constructor(chance, room = true) {
    this.socket = new PhoneSocket(chance);
    this.place = new PhonePlace(chance);
    this.room = room;
    /** @type {Event | null} */
    this.audio = null;
    /** @type {Effect | null} */
    this.told = null;
    /** @type {number | null} */
    this.unheardSince = null;
  }

  /** @param {Event} event @param {number} now */
  step(event, now) {
    const deadline = this.nextDeadline();
    /** @type {Effect[]} */
    const effects = [];
    if (deadline !== null && now - deadline > STOOD_STILL) {
      effects.push(...this.route({ type: "Woke", seconds: now - deadline }, now));
    }
    effects.push(...this.route(event, now));
    return [...effects, ...this.tell(now)];
  }

  nextDeadline() {
    return earliest(this.socket.nextDeadline(), this.place.nextDeadline());
  }

  /** @param {Event} event @param {number} now */
  route(event, now) {
    const wasHere = this.socket.here;
    const effects = OF_SOCKET.has(event.type) ? this.socket.step(event, now) : [];
    if (event.type === "Accepted" && this.socket.here && !wasHere) this.audio = null;
    for (const news of this.news(event, wasHere)) effects.push(...this.place.step(news, now));
    const { state, generation } = this.place;
    if (event.type === "PlaceJoined" && this.isMissed() && state === "held" && event.place === generation) {
      effects.push({ effect: "Hint", socket: this.socket.generation });
    }
    return effects;
  }

  /**
   * What the place hears of it, once the socket has.
   * @param {Event} event
   * @param {boolean} wasHere
   * @returns {Event[]}
   */
  news(event, wasHere) {
    const here = this.socket.here;
    if (event.type === "Switch" || event.type === "Stop") return [{ type: "Unwanted", goodbye: true }];
    if (event.type === "NetworkLost") return [{ type: "Unwanted", goodbye: false }];
    if (event.type === "Accepted" && here && !wasHere && this.room) {
      const wanted = { type: "Wanted", same: event.sameRoom };
      return this.outlived() ? [wanted, { type: "Doubted" }] : [wanted];
    }
    if (event.type === "MessageReceived" && here && !wasHere && this.room) {
      return [{ type: "Wanted", same: true, late: true }];
    }
    if (event.type === "AudioTold") {
      if (event.socket !== this.socket.generation && event.socket !== this.socket.kept) return [];
      this.audio = event;
      return here ? [event] : [];
    }
    if (OF_PLACE.has(event.type)) return [event];
    /** @type {Event[]} */
    const found = [];
    if (event.type === "Tick") found.push({ type: "Tick" });
    if (event.type === "NetworkChanged") found.push({ type: "Doubted" });
    if (event.type === "Woke" && event.seconds >= FROZEN) found.push({ type: "Doubted" });
    if (this.socket.final) return [{ type: "Unwanted", goodbye: true }];
    return wasHere && !here ? [{ type: "Away" }, ...found] : found;
  }

  outlived() {
    const { deadSince } = this.socket;
    return deadSince !== null && this.place.state === "held" && this.place.heldSince <= deadSince;
  }

  // ---- what a person is told

  isMissed() {
    return this.audio !== null && (this.audio.state === "interrupted" || this.audio.state === "unavailable");
  }

  /** @param {number} now */
  tell(now) {
    let truth = this.truth(now);
    const told = this.told;
    if (truth === null || (told !== null && truth.situation === told.situation && truth.text === told.text)) return [];
    if (truth.situation === "heard") {
      if (told !== null && told.situation === "heard") return [];
      if (this.unheardSince !== null) truth = { ...truth, text: backAfter(now - this.unheardSince) };
    } else if (told !== null && told.situation === "heard") {
      this.unheardSince = now;
    }
    this.told = truth;
    return [truth];
  }

  /** @param {number} now */
  truth(now) {
    const socket = this.socket;
    if (socket.here) return this.truthOfAudio(now);
    if (socket.state === "idle") return null;
    if (socket.state === "ended") return socket.trouble ? tell("ended", socket.trouble) : null;
    if (socket.state === "offline") return OFFLINE;
    if (!socket.trouble) return tell("connecting", "connecting to the cloud");
    if (socket.wasHere) {
      return tell("unreachable", `the connection to the cloud is lost (${socket.trouble}): connecting again`);
    }
    const again = tryingAgain(socket.retryAt, now);
    return tell("unreachable", `the cloud cannot be reached (${socket.trouble}), ${again}`, socket.retryAt);
  }

  /** @param {number} now */
  truthOfAudio(now) {
    const { audio, place } = this;
    if (audio !== null && audio.state === "live") {
      if (DEAD_SOUND.has(audio.code)) return tell("unheard", `${UNHEARD}: ${audio.reason}`);
      return tell("heard", "you are heard");
    }
    const renewing = this.room && ["leaving", "waiting", "joining"].includes(place.state);
    if (renewing && (this.isMissed() || place.trouble)) return RENEWING;
    if (audio !== null && audio.code === MUTED) return tell("connected", `connected; ${audio.reason}`);
    if (audio === null || audio.state === "connecting") {
      return tell("connected", "connected; nothing has been heard yet");
    }
    if (audio.state === "interrupted" || audio.retryAt === null) {
      return tell("unheard", `${UNHEARD}: ${audio.reason}`, audio.retryAt);
    }
    return tell("unheard", `${UNHEARD}: ${audio.reason}, ${tryingAgain(audio.retryAt, now)}`, audio.retryAt);
  }
}

/** @param {number} seconds */
const backAfter = (seconds) => (seconds >= NOTICED ? `audio is back after ${seconds.toFixed(1)} s` : "audio is back");

// Within a second is at once, for people.
/** @param {number | null} at @param {number} now */
const tryingAgain = (at, now) => {
  const seconds = at === null ? 0 : Math.ceil(at - now);
  return seconds > 1 ? `trying again in ${seconds} s` : "trying again";
};
