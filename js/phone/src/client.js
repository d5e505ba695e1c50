// A phone: stays connected to its cloud, keeps its place in the room, speaks, and tells what it hears.
//
// link.js and sending.js decide; this carries it out.

import { Beside } from "./beside.js";
import { Capture } from "./capture.js";
import { steadyClock } from "./clock.js";
import { CloudApi } from "./cloud.js";
import { blame, eventOf } from "./events.js";
import { SAMPLE_RATE } from "./frames.js";
import { PhoneLink } from "./link.js";
import { NetworkWatch } from "./network_watch.js";
import { measure, measureAgain } from "./probe.js";
import { NoRoom, PhoneRoom } from "./room.js";
import { Sender } from "./sender.js";
import { LEVELS } from "./sending_levels.js";
import { Shell } from "./shell.js";
import { PING_EVERY } from "./socket.js";
import { Sockets } from "./sockets.js";

/** @typedef {import("./cloud_socket.js").CloudSocket} CloudSocket */
/** @typedef {import("./machine.js").Effect} Effect */

/** @typedef {import("./options.js").PhoneOptions} PhoneOptions */

const PULSE = 100; // milliseconds
const LONGEST_FRAME = 0.4 * SAMPLE_RATE;

/** @param {() => number} chance */
const random32 = (chance) => Math.floor(chance() * 2 ** 32);

export class PhoneClient {
  /** @param {PhoneOptions} options */
  constructor({ cloud, token, onEvent, transport = "data", chance = Math.random, ...ports }) {
    const { livekit, microphone = null, network, opus = null, model = "glassbridge phone" } = ports;
    this.onEvent = onEvent;
    this.token = token;
    this.api = new CloudApi(cloud, token);
    this.transport = livekit === undefined ? "websocket" : transport;
    this.chance = chance;
    this.clock = ports.clock ?? steadyClock();
    this.network = network;
    this.model = model;
    this.microphone = microphone;
    this.name = random32(chance).toString(16) + random32(chance).toString(16);
    this.microphoneOn = true;
    this.voiceOn = /** @type {boolean | null} */ (null); // null: nobody says so apart from the microphone
    this.allowed = true;
    this.failed = false;
    this.apps = new Set(); // that our clouds have told of
    this.wanted = new Set(); // that the person has started
    this.machine = new PhoneLink(chance, this.transport !== "websocket");
    const perform = (/** @type {Effect} */ effect) => this.perform(effect);
    this.shell = new Shell(this.machine, this.clock, perform, (error) => this.fail(error));
    this.sockets = this.makeSockets(ports.WebSocket ?? globalThis.WebSocket);
    this.capture = new Capture(this.clock, random32(chance));
    this.room = livekit === undefined ? new NoRoom() : this.makeRoom(livekit);
    this.takesBeside = false; // the cloud takes a second socket
    /** @type {import("./beside.js").Dial} */
    const dial = (on) => (this.takesBeside && this.sender.socket ? this.sockets.openBeside(on) : null);
    this.beside = new Beside(this.clock, dial, () => this.sender.drain());
    this.watch = new NetworkWatch(this.clock, dial, () => this.networkChanged());
    this.sender = new Sender({
      capture: this.capture,
      room: this.room,
      transport: this.transport,
      clock: this.clock,
      microphoneOn: () => this.speaking,
      beside: this.beside,
      opus,
      onFailure: (error) => this.fail(error),
    });
    this.isNarrow = false;
    /** @type {import("./probe.js").Probe | null} */
    this.probe = null;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.pulsing = undefined;
    this.unwatch = () => {};
    /** @type {Promise<void>} */
    this.leaving = Promise.resolve();
  }

  /** @param {typeof WebSocket} Socket */
  makeSockets(Socket) {
    const { clock, name, transport } = this;
    const current = (/** @type {number} */ number) =>
      [this.machine.socket.generation, this.machine.socket.kept].includes(number);
    return new Sockets(
      { api: () => this.api, Socket, clock, name, transport },
      {
        post: (event) => this.shell.post(event),
        message: (number, socket, said) => current(number) && this.hear(number, socket, said),
        passed: (socket) => this.passed(socket),
        gone: (socket) => this.gone(socket),
      },
    );
  }

  /** @param {import("./livekit.js").LiveKit} livekit */
  makeRoom(livekit) {
    const published = this.transport === "track" ? this.microphone : null;
    return new PhoneRoom(livekit, () => this.api, {
      post: (event) => this.shell.post(event),
      sound: (track, on) => this.onEvent({ type: "sound", track, on }),
      change: () => this.roomChanged(),
      greeting: () => this.capture.presence(this.speaking),
      track: published ? () => /** @type {MediaStreamTrack} */ (published.track) : null,
    });
  }

  // ---- what the owner says

  // Opens the microphone, where there is one, then wants to be connected. Throws an Error for people.
  async start() {
    await this.microphone?.open((samples, at) => this.captured(samples, at), this.clock);
    this.pulsing = setInterval(() => this.pulse(), PULSE);
    const hints = { changed: () => this.networkChanged(), lost: () => this.networkLost() };
    this.unwatch = this.network?.(hints) ?? this.unwatch;
    this.shell.post({ type: "Start" });
  }

  // Leaves the room, says goodbye, releases everything; two seconds at most. To be called after `ended`, too.
  async close() {
    this.unwatch();
    clearInterval(this.pulsing);
    this.shell.post({ type: "Stop" });
    this.sender.close();
    this.beside.end();
    this.watch.end();
    this.probe?.end();
    await Promise.all([this.leaving, this.microphone?.close()]);
    this.shell.stop();
  }

  get speaking() {
    return this.microphoneOn && this.allowed;
  }

  /**
   * The person's button.
   * @param {boolean} on
   */
  switchMicrophone(on) {
    this.microphoneOn = on;
    this.sender.bePresent();
    this.sayMicrophone(this.sender.socket);
  }

  /**
   * The voice detector says that the person begins or ends to speak. Without one, the microphone counts.
   * @param {boolean} on
   */
  voice(on) {
    this.voiceOn = on;
    this.sender.socket?.say({ type: "VAD", status: on });
  }

  /**
   * Captured samples (PCM16, 16 kHz, mono), the first of them at `capturedAt` by the phone's clock; `last` with the final
   * ones before the microphone goes off. Never waits: what cannot be sent yet is sent when it can. The array may be used
   * again afterwards. Throws TypeError for anything but an Int16Array: bytes are no samples.
   * @param {Int16Array} samples
   * @param {{capturedAt?: number, last?: boolean}} [how]
   */
  speak(samples, { capturedAt = this.clock() - samples.length / SAMPLE_RATE, last = false } = {}) {
    if (Object.prototype.toString.call(samples) !== "[object Int16Array]") {
      throw new TypeError("speak() takes an Int16Array: PCM16, 16 kHz, mono");
    }
    for (let at = 0; this.speaking && at < samples.length; at += LONGEST_FRAME) {
      const part = samples.slice(at, at + LONGEST_FRAME);
      const ends = last && at + part.length === samples.length;
      this.sender.speak(this.capture.take(part, (capturedAt + at / SAMPLE_RATE) * 1e6, ends));
    }
    this.pulse();
  }

  /**
   * An app runs wherever the phone is, until it is stopped here.
   * @param {string} name
   */
  startApp(name) {
    this.wanted.add(name);
    this.sender.socket?.say({ type: "start_app", packageName: name });
  }

  /** @param {string} name */
  stopApp(name) {
    this.wanted.delete(name);
    this.sender.socket?.say({ type: "stop_app", packageName: name });
  }

  // The apps of this cloud.
  listApps() {
    return this.api.apps();
  }

  /**
   * Moves to another cloud; the old room is left before a new one is joined.
   * @param {string} cloud
   */
  switchCloud(cloud) {
    this.api = new CloudApi(cloud, this.token);
    this.shell.post({ type: "Switch" });
  }

  // The device has another network, or one again.
  networkChanged() {
    this.shell.post({ type: "NetworkChanged" });
  }

  // The device has no network: nothing is tried until `networkChanged`.
  networkLost() {
    this.shell.post({ type: "NetworkLost" });
  }

  // ---- what happens to it

  /**
   * @param {Int16Array} samples
   * @param {number} at
   */
  captured(samples, at) {
    this.onEvent({ type: "level", samples });
    this.microphone?.audible?.(this.speaking && this.sender.path === "track");
    this.speak(samples, { capturedAt: at });
  }

  // Also for each captured frame: the microphone goes on in a tab that is not seen.
  pulse() {
    this.sender.pulse();
    this.sender.replay();
    this.sender.insist();
    this.beside.look();
    this.watch.look(this.sender.socket, this.sender.speaks);
    this.shell.look();
  }

  roomChanged() {
    this.sender?.bePresent();
    this.onEvent({ type: "room", joined: this.room.joined, agent: this.room.agent });
  }

  /**
   * What nobody expected ends the phone, and is told.
   * @param {Error} error
   */
  fail(error) {
    console.error(error);
    if (this.failed) return;
    this.failed = true;
    this.close().catch(() => {}); // what can be released is
    this.onEvent({ type: "told", situation: "ended", text: `the phone failed: ${error.message}`, retryIn: null });
  }

  /** @param {Effect} effect */
  perform({ effect, socket, place, goodbye, number, ...told }) {
    const room = /** @type {PhoneRoom} */ (this.room);
    switch (effect) {
      case "OpenSocket":
        return this.sockets.open(socket);
      case "CloseSocket":
        return this.sockets.hangUp(socket, goodbye);
      case "Ping": {
        const ping = { type: "ping", timestamp: number, sent: this.sender.counts, every: PING_EVERY };
        return this.sockets.say(socket, ping);
      }
      case "Hint":
        return this.sockets.say(socket, { type: "network_state_change" });
      case "Join":
        return void room.join(place);
      case "Leave":
        this.leaving = room.leave(place, goodbye);
        return undefined;
      case "Tell": {
        const { situation, text, retryAt } = told;
        const retryIn = retryAt === null ? null : Math.max(0, retryAt - this.clock());
        return this.onEvent({ type: "told", situation, text, retryIn });
      }
    }
  }

  // ---- sockets

  /**
   * What went by this socket has arrived, up to a ping.
   * @param {CloudSocket} socket
   */
  passed(socket) {
    if (this.sender.socket !== socket) return;
    if (this.sender.sending.wantsProbe && (this.probe?.isOver ?? true)) {
      this.probe = measureAgain(socket, this.clock, this.sender);
    }
    this.probe?.look();
    this.sender.drain();
  }

  /** @param {CloudSocket} socket */
  gone(socket) {
    if (this.sender.socket !== socket) return;
    this.probe?.end();
    this.probe = null;
    this.sender.attach(null);
    this.onEvent({ type: "socket", here: false });
  }

  /** @param {CloudSocket | null} socket */
  sayMicrophone(socket) {
    socket?.say({ type: "microphone_state_change", isMicrophoneEnabled: this.speaking });
    socket?.say({ type: "VAD", status: this.voiceOn ?? this.speaking });
  }

  // ---- what the cloud says

  /**
   * @param {number} number
   * @param {CloudSocket} socket
   * @param {any} message
   */
  hear(number, socket, message) {
    switch (message.type) {
      case "pong":
        if (typeof message.roomAgeMs === "number") this.sender.heardInRoom(message.roomAgeMs / 1000);
        return this.shell.post({ type: "MessageReceived", socket: number, echo: message.timestamp });
      case "connection_ack":
        return this.accepted(number, socket, message);
      case "audio_state":
        return this.learn(number, message);
      case "audio_ack":
        return this.acknowledged(message);
      case "epoch_end":
        return message.epoch === this.capture.epoch ? this.capture.endEpoch(random32(this.chance)) : undefined;
      case "microphone_state_change":
        if (message.isMicrophoneEnabled === this.allowed) return undefined;
        this.allowed = message.isMicrophoneEnabled;
        this.onEvent({ type: "microphone", allowed: this.allowed });
        return this.sender.bePresent();
      case "auth_error": {
        const reason = `the cloud refuses the token: ${message.message}`;
        this.shell.post({ type: "SocketClosed", socket: number, comeBack: "no", reason });
        return socket.close(true);
      }
      default: {
        const event = eventOf(message, this.apps);
        if (message.type === "app_state_change" && event) this.apps.add(message.packageName);
        return event ? this.onEvent(event) : undefined;
      }
    }
  }

  /**
   * @param {number} number
   * @param {CloudSocket} socket
   * @param {any} ack
   */
  accepted(number, socket, ack) {
    const { sender } = this;
    sender.numbered = this.transport !== "track" && ack.audio >= 2;
    sender.introduce(socket);
    const { roundTrip, begunAt } = this.machine.socket;
    const opening = this.clock() - begunAt; // two round trips at least
    sender.attach(socket, ack, roundTrip || opening / 2);
    this.takesBeside = Boolean(ack.beside);
    const where = ack.livekit && `${ack.livekit.url} ${ack.livekit.roomName}`;
    const sameRoom = Boolean(ack.resumed || (where && where === this.room.where));
    this.shell.post({ type: "Accepted", socket: number, sameRoom, answers: Boolean(ack.pings) });
    // After the machine's first ping, which tells how often it comes.
    if (ack.pings) socket.pace.begin();
    if (ack.pings && sender.sending.isNew) {
      this.probe?.end();
      this.probe = measure(socket, this.clock, sender);
    }
    this.onEvent({ type: "socket", here: true, sessionId: ack.sessionId });
    sender.bePresent();
    socket.say({ type: "glasses_connection_state", status: "CONNECTED", modelName: this.model });
    this.sayMicrophone(socket);
    for (const name of this.wanted) socket.say({ type: "start_app", packageName: name }); // one that runs is not disturbed
  }

  /**
   * @param {number} number
   * @param {any} notice
   */
  learn(number, notice) {
    this.sender.told = notice;
    const { state, reason = "", code = "", retryInMs } = notice;
    this.onEvent({ ...notice, type: "audio" });
    const retryAt = retryInMs === undefined || retryInMs === null ? null : this.clock() + retryInMs / 1000;
    this.shell.post({ type: "AudioTold", socket: number, state, blame: blame(notice), reason, retryAt, code });
  }

  /** @param {any} ack */
  acknowledged(ack) {
    this.capture.acknowledge(ack);
    this.sender.acknowledged(ack);
    const narrow = this.sender.sending.level === LEVELS[LEVELS.length - 1];
    if (narrow !== this.isNarrow) {
      this.isNarrow = narrow;
      this.shell.post({ type: "Narrowed", narrow });
    }
    const { epoch, position, lost = 0 } = ack;
    this.onEvent({ type: "acknowledged", epoch, position, lost });
  }
}
