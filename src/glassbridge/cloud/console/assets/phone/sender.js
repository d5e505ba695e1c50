// Takes captured audio to the cloud by the path that is open now, with the rules of phone/sender.py.
//
// What a path does not take at once is not queued here: it is kept with its number, and the cloud asks for it.

import { REPLAYED, encode } from "./frames.js";

const PRESENCE = 1.0; // seconds between presence frames
const PROVING = 0.2; // the same until the path is proven
const REPLAY_SPEED = 4;

export class Sender {
  // `transport`: data, track or websocket; `microphone` is asked whether it is on.
  constructor(capture, room, transport, clock, microphoneOn) {
    Object.assign(this, { capture, room, transport, clock, microphoneOn });
    this.numbered = false;
    this.told = null;
    this.sent = { data: 0, track: 0, websocket: 0 };
    this.counts = [0, 0]; // frames into the room and on sockets, presence included
    this.unsent = 0;
    this.replayed = 0;
    this.sentAt = 0;
    this.attach(null);
  }

  // The acknowledged socket, or null.
  attach(socket) {
    this.socket = socket;
    this.missed = [];
    this.resent = new Set();
  }

  introduce(socket) {
    if (this.numbered) this.toSocket(this.capture.beginning(), socket);
  }

  toRoom(bytes) {
    return this.room.send(bytes) && Boolean((this.counts[0] += 1));
  }

  toSocket(bytes, socket = this.socket) {
    return socket.sendAudio(bytes) && Boolean((this.counts[1] += 1));
  }

  get path() {
    const toldSocket = this.told?.transport === "websocket";
    if (this.transport === "websocket" || toldSocket || !this.room.joined) return this.socket ? "websocket" : null;
    return this.transport;
  }

  speak(frame) {
    const path = this.path;
    this.sentAt = this.clock();
    if (this.over(path, frame)) this.sent[path] += 1;
    else this.unsent += 1;
  }

  over(path, frame) {
    switch (path) {
      case "data":
        return this.toRoom(encode(frame));
      case "track":
        return Boolean((this.counts[0] += 1)); // the track carries it
      case "websocket":
        return this.toSocket(this.numbered ? encode(frame) : new Uint8Array(frame.samples.buffer));
      default:
        return false;
    }
  }

  // Says where the stream stands; on the room always, on the socket where audio goes by it.
  bePresent() {
    if (!this.numbered) return;
    const frame = this.capture.presence(this.microphoneOn());
    this.sentAt = this.clock();
    if (this.room.joined) this.toRoom(frame);
    const settled = this.transport === "websocket" || (this.told !== null && this.told.state !== "connecting");
    if (settled && this.path === "websocket") this.toSocket(frame);
  }

  // To be called some times a second: numbered audio is never silent for longer than PRESENCE.
  keepPresent() {
    const interval = this.told?.state === "live" ? PRESENCE : PROVING;
    const silent = this.clock() - this.sentAt >= interval;
    // While audio goes by the socket, presence goes on in the room: only so is it known that it works again.
    const aside = this.path === "websocket" && this.clock() - (this.asideAt ?? 0) >= interval;
    if (!silent && !aside) return;
    if (aside) this.asideAt = this.clock();
    this.bePresent();
  }

  // Sends again what the cloud has asked for, once on each socket.
  sendMissing(frames) {
    for (const frame of frames) {
      if (!this.numbered || this.resent.has(frame.position)) continue;
      this.resent.add(frame.position);
      this.missed.push(frame);
    }
  }

  // To be called for each captured frame, after it was sent: at most REPLAY_SPEED times real time. No timer keeps that
  // pace in a tab that is not seen.
  replay() {
    for (let i = 0; i < REPLAY_SPEED && this.missed.length && this.socket; i += 1) {
      if (this.toSocket(encode(this.missed.shift(), REPLAYED))) this.replayed += 1;
    }
  }
}
