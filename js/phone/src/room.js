// Takes a place in the LiveKit room with a fresh token of the cloud, speaks through it, leaves it.
//
// livekit-client is an argument: the npm package in a bundle, `globalThis.LivekitClient` beside its UMD build, the same
// module on React Native. It may not repair anything: a fresh join is the only repair, and the machine decides on it.

import { TOPIC_NUMBERED, encodePcm } from "./frames.js";
import { RULES } from "./rules.js";

/** @typedef {import("./livekit.js").LiveKit} LiveKit */
/** @typedef {import("./livekit.js").LiveKitRoom} LiveKitRoom */
/** @typedef {import("./cloud.js").CloudApi} CloudApi */
/** @typedef {import("./frames.js").Frame} Frame */

const GOODBYE = 1_500; // milliseconds that a goodbye may take before the next join
const CUT = 250; // the same where the path is dead or in doubt
const WAITING_PACKETS = 64;
const AGENT = "cloud-agent:";

/** @type {Record<string, string>} */
const TEXTS = RULES.wire.lossReasons;
const why = (/** @type {string} */ code) => ({ code, text: TEXTS[code] });

/**
 * @param {Promise<unknown>} promise
 * @param {number} ms
 */
const within = (promise, ms) => Promise.race([promise, new Promise((done) => setTimeout(done, ms))]);

/**
 * @typedef {object} RoomEvents
 * @property {(event: import("./machine.js").Event) => void} post what becomes of a place
 * @property {(track: import("./livekit.js").SoundTrack, on: boolean) => void} sound sound to play
 * @property {() => void} change of `joined` or `agent`
 * @property {() => Frame} greeting a first packet
 * @property {(() => MediaStreamTrack) | null} track the microphone, where it is to be published instead
 */

// Where there is no LiveKit: audio goes by the socket, and no place is ever asked for.
export class NoRoom {
  joined = false;
  agent = false;
  where = "";

  send() {
    return false;
  }
}

export class PhoneRoom {
  /**
   * @param {LiveKit} livekit
   * @param {() => CloudApi} api of the cloud that is the right one now
   * @param {RoomEvents} on
   */
  constructor(livekit, api, on) {
    this.livekit = livekit;
    this.api = api;
    this.on = on;
    this.where = "";
    /** @type {LiveKitRoom | null} */
    this.room = null;
    /** @type {AbortController | null} */
    this.abort = null;
    this.joined = false;
    this.agent = false;
    this.waiting = 0;
  }

  /** @param {number} place */
  async join(place) {
    const { Room } = this.livekit;
    const room = (this.room = new Room({
      reconnectPolicy: { nextRetryDelayInMs: () => null },
      stopLocalTrackOnUnpublish: false,
    }));
    const abort = (this.abort = new AbortController());
    try {
      const ticket = await this.api().ticket(abort.signal);
      if (this.room !== room) return;
      this.where = `${ticket.url} ${ticket.room}`;
      this.listen(place, room);
      await room.connect(ticket.url, ticket.token, { maxRetries: 0 });
      if (this.room !== room) return;
      if (room.name !== ticket.room) throw new Error(TEXTS.wrong_room);
      await this.enter(room.localParticipant);
    } catch (error) {
      if (this.room !== room) return;
      this.forget();
      room.disconnect();
      this.on.post({ type: "PlaceFailed", place, reason: describe(/** @type {Error} */ (error)) });
      return;
    }
    if (this.room !== room) return;
    this.joined = true;
    this.seeAgent(room);
    this.on.post({ type: "PlaceJoined", place });
  }

  /**
   * The way out of here is opened with the first packet: until that is through, audio goes by the socket.
   * @param {import("./livekit.js").Me} me
   * @returns {Promise<unknown>}
   */
  enter(me) {
    if (this.on.track === null) return this.publish(me, encodePcm(this.on.greeting()), TOPIC_NUMBERED);
    return me.publishTrack(this.on.track(), { source: this.livekit.Track.Source.Microphone, dtx: false });
  }

  /**
   * @param {import("./livekit.js").Me} me
   * @param {Uint8Array} bytes
   * @param {string} [topic]
   */
  publish(me, bytes, topic) {
    return me.publishData(/** @type {Uint8Array<ArrayBuffer>} */ (bytes), { reliable: false, topic });
  }

  /**
   * @param {number} place
   * @param {boolean} goodbye
   */
  async leave(place, goodbye) {
    const { room } = this;
    this.abort?.abort();
    this.forget();
    if (room) await within(room.disconnect(), goodbye ? GOODBYE : CUT);
    this.on.post({ type: "PlaceLeft", place });
  }

  /**
   * A lossy packet to all; false where there is no place, or where packets wait already.
   * @param {Uint8Array} bytes
   * @param {string} [topic]
   */
  send(bytes, topic) {
    const { room } = this;
    if (!this.joined || room === null || this.waiting >= WAITING_PACKETS) return false;
    this.waiting += 1;
    this.publish(room.localParticipant, bytes, topic)
      .catch(() => {}) // that nothing comes through is told by the cloud
      .finally(() => {
        if (this.room === room) this.waiting -= 1;
      });
    return true;
  }

  /**
   * @param {number} place
   * @param {LiveKitRoom} room
   */
  listen(place, room) {
    const { DisconnectReason, RoomEvent, Track } = this.livekit;
    const reasons = new Map([
      [DisconnectReason.DUPLICATE_IDENTITY, "superseded"],
      [DisconnectReason.SERVER_SHUTDOWN, "server_shutdown"],
      [DisconnectReason.PARTICIPANT_REMOVED, "removed"],
      [DisconnectReason.ROOM_DELETED, "room_deleted"],
    ]);
    const lost = (/** @type {string} */ code) => {
      if (this.room !== room || !this.joined) return;
      this.forget();
      room.disconnect();
      this.on.post({ type: "PlaceLost", place, reason: why(code) });
    };
    room
      .on(RoomEvent.Disconnected, (reason) => lost((reason !== undefined && reasons.get(reason)) || "network"))
      .on(RoomEvent.Reconnecting, () => lost("network"))
      .on(RoomEvent.SignalReconnecting, () => lost("network"))
      .on(RoomEvent.ParticipantConnected, () => this.seeAgent(room))
      .on(RoomEvent.ParticipantDisconnected, () => this.seeAgent(room))
      .on(RoomEvent.TrackSubscribed, (track) => track.kind === Track.Kind.Audio && this.on.sound(track, true))
      .on(RoomEvent.TrackUnsubscribed, (track) => track.kind === Track.Kind.Audio && this.on.sound(track, false));
  }

  /** @param {LiveKitRoom} room */
  seeAgent(room) {
    if (this.room !== room) return;
    const identities = [...room.remoteParticipants.values()].map((participant) => participant.identity);
    const connected = room.state === this.livekit.ConnectionState.Connected;
    this.agent = connected && identities.some((identity) => identity.startsWith(AGENT));
    this.on.change();
  }

  forget() {
    this.room = null;
    this.joined = this.agent = false;
    this.waiting = 0;
    this.on.change();
  }
}

/** @param {Error} error */
const describe = (error) => {
  if (error.name === "AbortError") return TEXTS.timed_out;
  if (error instanceof TypeError) return "the cloud does not answer";
  // livekit-client's texts may hold the address with its token.
  return error.message.startsWith("the ") ? error.message : TEXTS.unreachable;
};
