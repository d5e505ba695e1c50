// A phone: stays connected to its cloud, keeps its place in the room, speaks, and tells what it hears.
//
// What it decides is in link_machine.js; this does it.

import { steadyClock } from "./clock.js";
import { CloudSocket } from "./cloud_socket.js";
import { Capture } from "./frames.js";
import { PhoneLink } from "./link_machine.js";
import { Microphone } from "./microphone.js";
import { PhoneRoom } from "./room.js";
import { Sender } from "./sender.js";
import { PING_EVERY } from "./socket_machine.js";

const PULSE = 100; // milliseconds
const LONGEST_TIMER = 60; // seconds
const REJOINS = new Set(["phone_not_in_room", "phone_unheard"]); // wire/phone.py PHONE_REJOINS
const CAPTIONS = "glassbridge.captions";

const randomName = () =>
  [...crypto.getRandomValues(new Uint8Array(8))].map((b) => b.toString(16).padStart(2, "0")).join("");

export class PhoneClient {
  // `tell(kind, detail)` gets the news: told, caption, shown, audio, room, socket, sound, level,
  // app, microphone, error.
  constructor(coreToken, tell, { transport = "data", chance = Math.random } = {}) {
    this.coreToken = coreToken;
    this.tell = tell;
    this.transport = transport;
    this.clock = steadyClock();
    this.name = randomName();
    this.microphoneOn = false;
    this.allowed = true;
    this.sockets = new Map();
    this.apps = new Set(); // that our clouds have told of
    this.wanted = new Set(); // that the person has started
    this.machine = new PhoneLink(chance, transport !== "websocket");
    this.microphone = new Microphone(this.clock, (samples, at) => this.captured(samples, at));
    this.room = new PhoneRoom(coreToken, (event) => this.post(event), {
      onSound: (track, on) => tell("sound", { track, on }),
      onChange: () => this.roomChanged(),
      greeting: () => this.capture.presence(this.speaking),
      track: transport === "track" ? () => this.microphone.track : null,
    });
    this.capture = new Capture(this.clock);
    this.sender = new Sender(this.capture, this.room, transport, this.clock, () => this.speaking);
    this.inbox = [];
    this.failed = false;
  }

  // Asks for the microphone, then wants to be connected. Throws an Error for people.
  async start() {
    await this.microphone.open();
    this.microphoneOn = true;
    this.pulsing = setInterval(() => this.pulse(), PULSE);
    addEventListener("online", this.online);
    addEventListener("offline", this.offline);
    this.network = navigator.connection?.type;
    navigator.connection?.addEventListener("change", this.connected);
    this.post({ type: "Start" });
  }

  async stop() {
    removeEventListener("online", this.online);
    removeEventListener("offline", this.offline);
    navigator.connection?.removeEventListener("change", this.connected);
    clearInterval(this.pulsing);
    this.post({ type: "Stop" });
    clearTimeout(this.timer);
    await this.microphone.close();
  }

  online = () => this.post({ type: "NetworkChanged" });
  offline = () => this.post({ type: "NetworkLost" });

  // Browsers also tell of each new estimate of the same network.
  connected = () => {
    const former = this.network;
    this.network = navigator.connection.type;
    if (this.network !== former && this.network !== "none") this.online();
  };

  get speaking() {
    return this.microphoneOn && this.allowed;
  }

  // The person's button.
  switchMicrophone(on) {
    this.microphoneOn = on;
    this.sender.bePresent();
    this.sayMicrophone(this.sender.socket);
  }

  // An app runs wherever the phone is, until it is stopped here.
  runApp(name, on) {
    if (on) this.wanted.add(name);
    else this.wanted.delete(name);
    this.sender.socket?.say({ type: on ? "start_app" : "stop_app", packageName: name });
  }

  sayMicrophone(socket) {
    socket?.say({ type: "microphone_state_change", isMicrophoneEnabled: this.speaking });
    socket?.say({ type: "VAD", status: this.speaking });
  }

  captured(samples, at) {
    this.tell("level", samples);
    this.microphone.audible(this.speaking && this.sender.path === "track");
    if (this.speaking) this.sender.speak(this.capture.take(samples, at * 1e6));
    this.sender.replay();
    this.pulse();
  }

  // Browsers slow the timers of a tab that is not seen; its microphone goes on, and keeps the time.
  pulse() {
    this.sender.keepPresent();
    const due = this.machine.nextDeadline();
    if (due !== null && this.clock() >= due) this.post({ type: "Tick" });
  }

  roomChanged() {
    this.sender?.bePresent();
    this.tell("room", { joined: this.room.joined, agent: this.room.agent });
  }

  // ---- the machine

  post(event) {
    this.inbox.push(event);
    if (this.inbox.length > 1) return; // the loop below is running: it takes this one, too
    try {
      while (this.inbox.length) {
        for (const effect of this.machine.step(this.inbox[0], this.clock())) this.perform(effect);
        this.inbox.shift();
      }
    } catch (error) {
      this.fail(error);
      return;
    }
    this.rearm();
  }

  // What nobody expected ends the phone, and is told.
  fail(error) {
    console.error(error);
    this.inbox = [];
    if (this.failed) return;
    this.failed = true;
    this.tell("told", { situation: "ended", text: `the phone failed: ${error.message}` });
  }

  rearm() {
    clearTimeout(this.timer);
    const due = this.machine.nextDeadline();
    if (due === null) return;
    const wait = Math.min(LONGEST_TIMER, Math.max(0, due - this.clock()));
    this.timer = setTimeout(() => this.post({ type: "Tick" }), wait * 1000);
  }

  perform({ effect, socket, place, goodbye, number, ...rest }) {
    switch (effect) {
      case "OpenSocket":
        return this.open(socket);
      case "CloseSocket":
        return this.hangUp(socket, goodbye);
      case "Ping":
        return this.sockets
          .get(socket)
          ?.say({ type: "ping", timestamp: number, sent: this.sender.counts, every: PING_EVERY });
      case "Hint":
        return this.sockets.get(socket)?.say({ type: "network_state_change" });
      case "Join":
        return this.room.join(place);
      case "Leave":
        return this.room.leave(place, goodbye);
      case "Tell":
        return this.tell("told", rest);
    }
  }

  // ---- sockets

  open(number) {
    const query = { phone: this.name, attempt: number };
    if (this.transport !== "websocket") query.livekit = "true";
    if (this.transport !== "track") query.audio = "2";
    const current = () => [this.machine.socket.generation, this.machine.socket.kept].includes(number);
    const socket = new CloudSocket(this.coreToken, query, {
      failed: (reason, final) => {
        this.sockets.delete(number);
        this.post({ type: "SocketFailed", socket: number, final, reason });
      },
      closed: (comeBack, reason) => {
        this.forget(number);
        this.post({ type: "SocketClosed", socket: number, comeBack, reason });
      },
      message: (message) => current() && this.hear(number, socket, message),
    });
    this.sockets.set(number, socket);
  }

  hangUp(number, goodbye) {
    const socket = this.sockets.get(number);
    this.forget(number);
    socket?.close(goodbye);
  }

  forget(number) {
    const socket = this.sockets.get(number);
    this.sockets.delete(number);
    if (socket !== undefined && this.sender.socket === socket) {
      this.sender.attach(null);
      this.sender.told = null;
      this.tell("socket", { here: false });
    }
  }

  // ---- what the cloud says

  hear(number, socket, message) {
    switch (message.type) {
      case "pong":
        return this.post({ type: "Heard", socket: number, echo: message.timestamp });
      case "connection_ack":
        return this.accepted(number, socket, message);
      case "audio_state":
        return this.learn(number, message);
      case "epoch_end":
        return message.epoch === this.capture.epoch ? this.capture.endEpoch() : undefined;
      case "audio_ack":
        return this.sender.sendMissing(this.capture.acknowledge(message));
      case "display_event":
        return this.show(message);
      case "transcript_gap":
        return this.tell("gap", { gap: message.id, start: message.atMs, seconds: message.seconds, state: message.state });
      case "microphone_state_change":
        if (message.isMicrophoneEnabled === this.allowed) return undefined;
        this.allowed = message.isMicrophoneEnabled;
        this.tell("microphone", this.allowed);
        return this.sender.bePresent();
      case "app_state_change":
        if (message.state) this.apps.add(message.packageName);
        return this.tell("app", { name: message.packageName, state: message.state });
      case "app_stopped":
        return this.tell("app", { name: message.packageName, state: "stopped", error: message.error });
      case "connection_error":
        return this.tell("error", message.message);
      case "auth_error":
        this.post({
          type: "SocketClosed",
          socket: number,
          comeBack: "no",
          reason: `the cloud refuses the token: ${message.message}`,
        });
        return socket.close(true);
    }
  }

  accepted(number, socket, ack) {
    const { sender } = this;
    sender.numbered = this.transport !== "track" && ack.audio >= 2;
    sender.introduce(socket);
    sender.attach(socket);
    sender.told = null;
    const sameRoom = ack.resumed || (ack.livekit && `${ack.livekit.url} ${ack.livekit.roomName}` === this.room.where);
    this.post({ type: "Accepted", socket: number, sameRoom: Boolean(sameRoom), answers: Boolean(ack.pings) });
    this.tell("socket", { here: true, sessionId: ack.sessionId });
    sender.bePresent();
    socket.say({ type: "glasses_connection_state", status: "CONNECTED", modelName: "glassbridge browser phone" });
    this.sayMicrophone(socket);
    for (const name of this.wanted) socket.say({ type: "start_app", packageName: name }); // one that runs is not disturbed
  }

  learn(number, notice) {
    this.sender.told = notice;
    this.tell("audio", notice);
    const retryAt =
      notice.retryInMs === undefined || notice.retryInMs === null ? null : this.clock() + notice.retryInMs / 1000;
    this.post({
      type: "AudioTold",
      socket: number,
      state: notice.state,
      blame: blame(notice),
      reason: notice.reason ?? "",
      retryAt,
    });
  }

  show({ packageName, layout, isFinal, startMs, id, replaces, inserts }) {
    const text = words(layout);
    if (packageName !== CAPTIONS && this.apps.has(packageName)) this.tell("shown", { name: packageName, text });
    else this.tell("caption", { text, final: isFinal !== false, start: startMs, id, replaces, inserts });
  }
}

// Whether a fresh place of the phone's could be what helps.
function blame({ code, hop }) {
  if (REJOINS.has(code)) return "phone";
  return !hop && code === "no_audio" ? "unknown" : "elsewhere";
}

// The words of a layout, whichever it is (wire/display.py).
const words = (layout) =>
  Object.entries(layout)
    .filter(([key]) => key !== "layoutType" && key !== "data")
    .map(([, value]) => value)
    .join("\n");
