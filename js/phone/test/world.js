// A world for a phone in virtual time: a cloud that a test plays, timers that it turns, a room that it opens.

import { mock } from "node:test";

import { PhoneClient } from "../src/index.js";

// What is under way without a timer (promises) has happened when this returns.
const settled = () => new Promise((done) => setImmediate(done));

class FakeSocket {
  static all = [];

  constructor(url) {
    this.url = new URL(url);
    this.readyState = 0;
    this.bufferedAmount = 0;
    this.sent = [];
    FakeSocket.all.push(this);
  }

  send(data) {
    this.sent.push(data);
  }

  close(code) {
    this.closedWith = code;
    this.readyState = 3;
  }

  // ---- what the test does

  open() {
    this.readyState = 1;
    this.onopen();
  }

  says(message) {
    this.onmessage({ data: typeof message === "string" ? message : JSON.stringify(message) });
  }

  breaks(code) {
    this.readyState = 3;
    this.onclose({ code });
  }

  get said() {
    return this.sent.filter((one) => typeof one === "string").map((one) => JSON.parse(one));
  }

  get frames() {
    return this.sent.filter((one) => typeof one !== "string").map(decode);
  }
}

// livekit-client, as far as a phone uses it: every join succeeds.
export const LIVEKIT = {
  DisconnectReason: {},
  RoomEvent: {},
  Track: { Source: {}, Kind: {} },
  ConnectionState: { Connected: "connected" },
  Room: class {
    state = "connected";
    remoteParticipants = new Map();
    localParticipant = { publishTrack: async () => {}, publishData: async () => {} };
    on() {
      return this;
    }
    async connect() {}
    async disconnect() {}
  },
};

// A frame's bytes, as a receiver reads them.
export function decode(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const [flags, coding] = [view.getUint8(1), view.getUint16(2, true)];
  const position = Number(view.getBigUint64(8, true));
  const samples = coding ? view.getUint16(24, true) : (bytes.length - 24) / 2;
  return { version: view.getUint8(0), flags, coding, epoch: view.getUint32(4, true), position, samples };
}

export const ACK = { type: "connection_ack", sessionId: "s", audio: 2, pings: true, resumed: false };

export class World {
  constructor(options = {}) {
    FakeSocket.all = [];
    mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
    this.now = 1000;
    this.events = [];
    this.status = 200;
    this.answers = true;
    this.fetch = mock.method(globalThis, "fetch", async () => ({
      ok: this.status === 200,
      status: this.status,
      json: async () => ({ data: {} }),
    }));
    let drawn = 0;
    this.phone = new PhoneClient({
      cloud: "http://cloud.test:8002/",
      token: "a token",
      onEvent: (event) => this.events.push(event),
      WebSocket: FakeSocket,
      clock: () => this.now,
      chance: () => [0.5, 0.25, 0.75][drawn++ % 3],
      ...options,
    });
  }

  get sockets() {
    return FakeSocket.all;
  }

  get socket() {
    return FakeSocket.all.at(-1);
  }

  get told() {
    return this.events.filter(({ type }) => type === "told").map(({ text }) => text);
  }

  // Time passes; a cloud that answers answers each ping. `each` happens every 30 ms.
  async pass(seconds, each = () => {}) {
    for (const until = this.now + seconds; this.now < until - 1e-9; ) {
      this.now += 0.03;
      mock.timers.tick(30);
      each();
      await settled();
      for (const socket of this.answers ? FakeSocket.all : []) {
        const pings = socket.readyState === 1 ? socket.said.filter(({ type }) => type === "ping") : [];
        for (const { timestamp } of pings.slice(socket.answered ?? 0)) socket.says({ type: "pong", timestamp });
        socket.answered = pings.length;
      }
    }
  }

  async connect(ack = {}) {
    await this.phone.start();
    this.accept(ack);
    await settled();
  }

  accept(ack = {}) {
    this.socket.open();
    this.socket.says({ ...ACK, ...ack });
    this.socket.says({ type: "audio_state", state: "live", since: 0 });
  }

  async end() {
    await this.phone.close();
    mock.timers.reset();
    mock.restoreAll();
  }
}
