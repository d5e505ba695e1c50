// Takes a place in the LiveKit room with a fresh token of the cloud, speaks through it, leaves it.
//
// livekit-client is not allowed to repair anything: a fresh join is the only repair, and the machine decides on it.

import { TOPIC } from "./frames.js";

const { ConnectionState, DisconnectReason, Room, RoomEvent, Track } = globalThis.LivekitClient;

const TICKET_TIMEOUT = 5_000;
const GOODBYE = 1_500; // milliseconds that a goodbye may take before the next join
const CUT = 250; // the same where the path is dead or in doubt
const WAITING_PACKETS = 64;
const AGENT = "cloud-agent:";

const NETWORK = { code: "network", text: "the link to LiveKit is gone" };
const WRONG_ROOM = { code: "wrong_room", text: "the token belongs to another room" };
const REASONS = new Map([
  [DisconnectReason.DUPLICATE_IDENTITY, { code: "superseded", text: "another participant took this identity" }],
  [DisconnectReason.SERVER_SHUTDOWN, { code: "server_shutdown", text: "the LiveKit server is shutting down" }],
  [DisconnectReason.PARTICIPANT_REMOVED, { code: "removed", text: "removed from the room by the room service" }],
  [DisconnectReason.ROOM_DELETED, { code: "room_deleted", text: "the room was deleted" }],
]);

export const within = (promise, ms) => Promise.race([promise, new Promise((done) => setTimeout(done, ms))]);

export async function fetchTicket(coreToken, signal) {
  const headers = { Authorization: `Bearer ${coreToken}` };
  const answer = await fetch("/api/client/livekit/token", { headers, signal, cache: "no-store" });
  if (!answer.ok) throw new Error(`the cloud gives no LiveKit token (status ${answer.status})`);
  return (await answer.json()).data;
}

export class PhoneRoom {
  // `post` hears what becomes of a place; `onSound(track, on)` of sound to play.
  // `greeting` gives a first packet; `track`, where there is one, gives the microphone, to be published instead.
  constructor(coreToken, post, { onSound, onChange, greeting, track = null }) {
    this.coreToken = coreToken;
    this.post = post;
    this.onSound = onSound;
    this.onChange = onChange;
    this.greeting = greeting;
    this.track = track;
    this.where = null;
    this.place = 0;
    this.room = null;
    this.joined = false;
    this.agent = false;
    this.waiting = 0;
  }

  async join(place) {
    this.place = place;
    const room = (this.room = new Room({
      reconnectPolicy: { nextRetryDelayInMs: () => null },
      stopLocalTrackOnUnpublish: false,
    }));
    const abort = (this.abort = new AbortController());
    const timer = setTimeout(() => abort.abort(), TICKET_TIMEOUT);
    try {
      const ticket = await fetchTicket(this.coreToken, abort.signal);
      if (this.room !== room) return;
      this.where = `${ticket.url} ${ticket.room}`;
      this.listen(place, room);
      await room.connect(ticket.url, ticket.token, { maxRetries: 0 });
      if (this.room !== room) return;
      if (room.name !== ticket.room) throw new Error(WRONG_ROOM.text);
      await this.enter(room.localParticipant);
    } catch (error) {
      if (this.room !== room) return;
      this.forget();
      room.disconnect();
      this.post({ type: "PlaceFailed", place, reason: describe(error) });
      return;
    } finally {
      clearTimeout(timer);
    }
    if (this.room !== room) return;
    this.joined = true;
    this.seeAgent(room);
    this.onChange();
    this.post({ type: "PlaceJoined", place });
  }

  // The way out of here is opened with the first packet: until that is through, audio goes by the socket.
  enter(me) {
    return this.track
      ? me.publishTrack(this.track(), { source: Track.Source.Microphone, dtx: false })
      : me.publishData(this.greeting(), { reliable: false, topic: TOPIC });
  }

  async leave(place, goodbye) {
    const room = this.room;
    this.abort?.abort();
    this.forget();
    if (room) await within(room.disconnect(), goodbye ? GOODBYE : CUT);
    this.post({ type: "PlaceLeft", place });
  }

  // A lossy packet to all; false where there is no place, or where packets wait already.
  send(bytes) {
    if (!this.joined || this.waiting >= WAITING_PACKETS) return false;
    this.waiting += 1;
    this.room.localParticipant
      .publishData(bytes, { reliable: false, topic: TOPIC })
      .catch(() => {}) // that nothing comes through is told by the cloud
      .finally(() => (this.waiting -= 1));
    return true;
  }

  listen(place, room) {
    const lost = (reason) => {
      if (this.room !== room || !this.joined) return;
      this.forget();
      room.disconnect();
      this.post({ type: "PlaceLost", place, reason });
    };
    room
      .on(RoomEvent.Disconnected, (reason) => lost(REASONS.get(reason) ?? NETWORK))
      .on(RoomEvent.Reconnecting, () => lost(NETWORK))
      .on(RoomEvent.SignalReconnecting, () => lost(NETWORK))
      .on(RoomEvent.ParticipantConnected, () => this.seeAgent(room))
      .on(RoomEvent.ParticipantDisconnected, () => this.seeAgent(room))
      .on(RoomEvent.TrackSubscribed, (track) => track.kind === Track.Kind.Audio && this.onSound(track, true))
      .on(RoomEvent.TrackUnsubscribed, (track) => this.onSound(track, false));
  }

  seeAgent(room) {
    if (this.room !== room) return;
    const identities = [...room.remoteParticipants.values()].map((participant) => participant.identity);
    this.agent = room.state === ConnectionState.Connected && identities.some((identity) => identity.startsWith(AGENT));
    this.onChange();
  }

  forget() {
    this.room = null;
    this.joined = this.agent = false;
    this.waiting = 0;
    this.onChange();
  }
}

const describe = (error) => {
  if (error.name === "AbortError") return "no answer in time";
  if (error instanceof TypeError) return "the cloud does not answer";
  // livekit-client's texts may hold the address with its token.
  return error.message.startsWith("the ") ? error.message : "no LiveKit server answers at that address";
};
