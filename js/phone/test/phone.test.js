// A whole phone, in virtual time, with a cloud that the tests play.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { LIVEKIT, World } from "./world.js";

const FRAME = 480; // samples of 30 ms
const [REPLAYED, PRESENCE, LAST, REPAIR] = [1, 2, 4, 8];
let world;

const begin = (options) => (world = new World(options));
const speak = () => world.phone.speak(new Int16Array(FRAME).fill(1));
const spoken = (socket) => socket.frames.filter(({ flags }) => !(flags & PRESENCE));

afterEach(() => world.end());

test("it connects, says what it can, and tells what a person should know", async () => {
  await begin().connect();
  const { searchParams, pathname } = world.socket.url;
  assert.equal(pathname, "/glasses-ws");
  assert.deepEqual(
    ["audio", "attempt", "token", "livekit"].map((name) => searchParams.get(name)),
    ["2", "1", "a token", null],
  );
  const [first] = world.socket.frames;
  assert.equal(first.flags, PRESENCE | REPLAYED, "a backend first hears where the audio begins");
  const ours = world.socket.said.filter(({ type, timestamp }) => type !== "ping" || timestamp > 0);
  assert.deepEqual(
    ours.map(({ type }) => type),
    ["ping", "glasses_connection_state", "microphone_state_change", "VAD"],
  );
  assert.equal(ours[0].every, 1);
  assert.equal(world.socket.said.find(({ type }) => type === "ping").every, 1, "the first of all pings says it");
  assert.deepEqual(world.told, ["connecting to the cloud", "connected; nothing has been heard yet", "you are heard"]);
});

test("what was said before there was a cloud is sent when it asks for it, once", async () => {
  await begin().phone.start();
  await world.pass(0.3, speak);
  world.accept();
  const { epoch } = world.phone.capture;
  const ack = { type: "audio_ack", epoch, position: 0, missing: [[0, 10 * FRAME]] };
  world.socket.says(ack);
  world.socket.says(ack);
  await world.pass(1.0);
  const again = world.socket.frames.filter(({ flags }) => flags === REPLAYED);
  assert.deepEqual(
    again.map(({ position }) => position),
    [...Array(10).keys()].map((i) => i * FRAME),
  );
  world.socket.says({ type: "audio_ack", epoch, position: 10 * FRAME });
  assert.equal(world.phone.capture.kept.length, 0);
  assert.deepEqual(world.events.at(-1), { type: "acknowledged", epoch, position: 10 * FRAME, lost: 0 });
});

test("sending again takes no more than four times real time, and waits for what is new", async () => {
  await begin().phone.start();
  await world.pass(6, speak);
  world.accept();
  const { epoch, position } = world.phone.capture;
  world.socket.says({ type: "audio_ack", epoch, position: 0, missing: [[0, position]] });
  await world.pass(0.6, speak);
  const again = world.socket.frames.filter(({ flags }) => flags === REPLAYED).length;
  assert.ok(again >= 60 && again <= 90, `${again} of 200 frames in 0.6 s`);
  await world.pass(1.5, speak);
  assert.equal(world.socket.frames.filter(({ flags }) => flags === REPLAYED).length, 200);
  assert.equal(spoken(world.socket).filter(({ flags }) => flags === 0).length, 70, "what is new goes on");
});

test("a lost connection comes back at once; positions go on, and the same phone says so", async () => {
  await begin().connect();
  await world.pass(6, speak);
  const former = world.socket;
  former.breaks(1006);
  await world.pass(0.03, speak);
  assert.notEqual(world.socket, former);
  assert.equal(world.socket.url.searchParams.get("attempt"), "2");
  assert.equal(world.socket.url.searchParams.get("phone"), former.url.searchParams.get("phone"));
  assert.match(world.told.at(-1), /^the connection to the cloud is lost \(the connection broke\): connecting again$/);
  world.accept({ resumed: true });
  await world.pass(0.3, speak);
  assert.equal(world.socket.frames[0].position, 0, "nothing was acknowledged");
  assert.equal(spoken(world.socket)[0].position, 201 * FRAME);
  assert.match(world.told.at(-1), /^audio is back/);
});

test("a cloud that falls silent is given up within 3.6 s, and counts again when it answers", async () => {
  await begin().connect();
  await world.pass(2);
  const silent = world.socket;
  world.answers = false;
  await world.pass(3.6);
  assert.equal(world.sockets.length, 2, "another attempt beside it");
  assert.equal(silent.closedWith, undefined, "its way may only have become long");
  silent.says({ type: "pong", timestamp: silent.said.filter(({ type }) => type === "ping").length });
  assert.equal(world.sockets[1].closedWith, 3001);
  assert.equal(world.phone.machine.socket.state, "ready");
});

for (const [code, text] of [
  [4001, /a newer socket of the same user took over/],
  [4401, /the token has expired/],
  [1008, /sign in again/],
]) {
  test(`closed with ${code} it does not come back`, async () => {
    await begin().connect();
    world.socket.breaks(code);
    await world.pass(5);
    assert.equal(world.sockets.length, 1);
    assert.match(world.told.at(-1), text);
  });
}

test("a refused token ends it, and the text says what to do", async () => {
  await begin().phone.start();
  world.status = 401;
  world.socket.onerror();
  world.socket.breaks(1006);
  await world.pass(2);
  assert.equal(world.sockets.length, 1);
  assert.match(world.told.at(-1), /get a fresh one with `glassbridge token`/);
  assert.equal(world.events.at(-1).situation, "ended");
});

test("without a network nothing is tried, and with one it goes at once", async () => {
  let hints;
  begin({ network: (given) => ((hints = given), () => (hints = null)) });
  await world.connect();
  hints.lost();
  assert.equal(world.socket.closedWith, 3001);
  await world.pass(10);
  assert.equal(world.sockets.length, 1);
  hints.changed();
  assert.equal(world.sockets.length, 2);
});

test("a socket that takes no more delays audio, the oldest first, and loses none", async () => {
  await begin().connect();
  world.socket.bufferedAmount = 1e6;
  await world.pass(3, speak);
  assert.equal(spoken(world.socket).length, 0);
  world.socket.bufferedAmount = 0;
  await world.pass(1.0);
  assert.deepEqual(
    spoken(world.socket).map(({ position }) => position),
    [...Array(100).keys()].map((i) => i * FRAME),
  );
});

test("the end of speech is told: last, and presence soon after", async () => {
  await begin().connect();
  await world.pass(0.3, speak);
  world.phone.speak(new Int16Array(FRAME), { last: true });
  world.phone.switchMicrophone(false);
  await world.pass(0.6);
  const after = world.socket.frames.slice(world.socket.frames.findIndex(({ flags }) => flags === LAST) + 1);
  assert.ok(after.length >= 2, "a lost end is known at once");
  assert.ok(after.every(({ flags, position }) => flags === (PRESENCE | LAST) && position === 11 * FRAME));
  const { length } = spoken(world.socket);
  await world.pass(0.3, speak);
  assert.equal(spoken(world.socket).length, length, "a microphone that is off sends nothing");
});

test("a cloud without numbers gets plain samples", async () => {
  await begin().connect({ audio: 1, pings: false });
  await world.pass(0.09, speak);
  const frames = world.socket.sent.filter((one) => typeof one !== "string");
  assert.deepEqual(
    frames.map((one) => one.length),
    [2 * FRAME, 2 * FRAME, 2 * FRAME],
  );
});

test("speech of any length is cut, and the array may be used again; bytes are refused", async () => {
  await begin().connect();
  const samples = new Int16Array(16_000).fill(7);
  world.phone.speak(samples, { capturedAt: 2000, last: true });
  samples.fill(0);
  await world.pass(0.3);
  assert.deepEqual(
    spoken(world.socket).map(({ position, samples: length, flags }) => [position, length, flags]),
    [
      [0, 6400, 0],
      [6400, 6400, 0],
      [12800, 3200, LAST],
    ],
  );
  assert.equal(world.phone.capture.kept[2].samples[0], 7);
  assert.equal(world.phone.capture.kept[2].capturedUs, 2_000_800_000);
  assert.throws(() => world.phone.speak(new Uint8Array(960)), /Int16Array/);
});

test("a page that may not open the socket is told why, and that is the end", async () => {
  class Forbidden {
    constructor() {
      throw new Error("insecure");
    }
  }
  await begin({ WebSocket: Forbidden }).phone.start();
  assert.match(world.told.at(-1), /may not connect to http:\/\/cloud.test:8002: a page by https:/);
  assert.equal(world.events.at(-1).situation, "ended");
});

test("a page of another origin learns what its cloud may lack, until it has answered once", async () => {
  globalThis.location = { origin: "https://app.test" };
  try {
    await begin().phone.start();
    globalThis.fetch.mock.mockImplementation(() => Promise.reject(new TypeError("blocked")));
    world.socket.onerror();
    await world.pass(0.03);
    assert.match(world.told.at(-1), /GLASSBRIDGE_ALLOWED_ORIGINS must name https:\/\/app.test/);
    await world.pass(3);
    world.accept();
    world.socket.breaks(1006);
    await world.pass(0.3);
    world.socket.onerror();
    await world.pass(0.03);
    assert.doesNotMatch(world.told.at(-1), /ORIGINS/);
  } finally {
    delete globalThis.location;
  }
});

test("what nobody understands changes nothing", async () => {
  await begin().connect();
  for (const text of ["", "{", "null", "7", '"x"', "[]", '{"type":"of_tomorrow"}']) world.socket.says(text);
  world.socket.onmessage({ data: new ArrayBuffer(8) });
  await world.pass(2);
  assert.equal(world.phone.machine.socket.state, "ready");
  assert.equal(world.told.at(-1), "you are heard");
});

// ---- Opus

const coder = (fails = () => false) => () => ({
  encode: async () => {
    if (fails()) throw new Error("the encoder has failed");
    return new Uint8Array(60);
  },
  close() {},
});

// We speak, and the cloud says every quarter of a second that all arrived, `late()` seconds late.
function reporting(late) {
  let at = 0;
  return () => {
    speak();
    if (world.now < at) return;
    at = world.now + 0.25;
    const { epoch, position } = world.phone.capture;
    const first = world.sockets.find(({ url }) => !url.searchParams.has("beside"));
    const socket = [spoken(first).length, position, late() * 1000];
    first.says({ type: "audio_ack", epoch, position: 0, socket });
  };
}

test("a full link gets Opus, and PCM again when the coder fails", async () => {
  let broken = false;
  await begin({ opus: coder(() => broken) }).connect({ codings: [1] });
  await world.pass(1, reporting(() => 0));
  assert.ok(spoken(world.socket).every(({ coding }) => coding === 0));
  await world.pass(4, reporting(() => 0.8));
  assert.equal(spoken(world.socket).at(-1).coding, 1);
  assert.equal(world.phone.sender.sending.level.coding, "opus");
  broken = true;
  await world.pass(1, speak);
  assert.equal(spoken(world.socket).at(-1).coding, 0);
  assert.equal(world.phone.failed, false);
});

test("the narrowest link is told to the place: nothing is joined anew", async () => {
  await begin({ opus: coder() }).connect({ codings: [1] });
  await world.pass(1, reporting(() => 0));
  let late = 0;
  const report = reporting(() => (late += 0.1));
  const answer = answering(() => Math.min(late, 1)); // pings wait behind the audio, too
  await world.pass(12, () => (report(), answer()));
  assert.equal(world.phone.sender.sending.level.name, "thin");
  assert.equal(world.phone.machine.place.narrow, true);
});

const probes = (socket) => socket.said.filter(({ type }) => type === "link_probe").length;

test("a link that a probe finds narrow is never filled with PCM; what waits for a repetition tells nothing", async () => {
  for (const [trip, answers, level] of [
    [0.06, [0.18, 0.3, 0.42, 0.54], "thin"],
    [0.06, [0.09, 0.45, 0.48, 0.48], "lossy"],
    [0.06, [0.09, 0.09, 0.09, 0.09], "guarded"],
    [0.3, [0.45, 0.6, 0.75, 0.9], "thin"],
  ]) {
    begin({ opus: coder() });
    world.answers = false;
    await world.connect({ codings: [1] });
    assert.equal(probes(world.socket), 0, "it begins once the round trip is known");
    await world.pass(trip, speak);
    const first = asked();
    world.socket.says({ type: "pong", timestamp: first });
    assert.equal(probes(world.socket), 4);
    assert.equal(spoken(world.socket).length, 0, "what is said waits until the link is known");
    for (const [part, at] of answers.entries()) {
      await world.pass(at - (answers[part - 1] ?? 0), speak);
      world.socket.says({ type: "pong", timestamp: first - 1 - part });
    }
    await world.pass(0.03, speak);
    assert.equal(world.phone.sender.sending.level.name, level);
    assert.equal(spoken(world.socket)[0].position, 0);
    assert.ok(level === "guarded" || spoken(world.socket).every(({ coding }) => coding === 1));
    await world.end();
  }
  begin();
});

test("a link that answers nothing is in doubt, and audio goes on", async () => {
  begin({ opus: coder() });
  world.answers = false;
  await world.connect({ codings: [1] });
  await world.pass(0.9, speak);
  assert.equal(world.phone.sender.sending.level.name, "narrow");
  assert.ok(spoken(world.socket).length > 10);
});

test("a socket that breaks before its link is known holds nothing up", async () => {
  begin({ opus: coder() });
  world.answers = false;
  await world.connect({ codings: [1] });
  await world.pass(0.09, speak);
  world.socket.breaks(1006);
  await world.pass(0.3, speak);
  world.answers = true;
  world.accept({ codings: [1] });
  await world.pass(0.6, speak);
  assert.ok(spoken(world.socket).length > 10);
});

// The newest ping between audio.
const asked = (socket = world.socket) => Math.min(...socket.said.filter(({ type }) => type === "ping").map((one) => one.timestamp));

test("no more is on its way than a narrow link carries, although the browser takes everything at once", async () => {
  await begin({ opus: coder() }).connect({ codings: [1] });
  await world.pass(0.5, speak);
  world.answers = false;
  const bytes = () => world.socket.sent.reduce((sum, { byteLength = 0 }) => sum + byteLength, 0);
  const before = bytes();
  await world.pass(2, speak);
  const waits = bytes() - before;
  assert.ok(waits > 4_000 && waits < 10_000, `${waits} of 64,000 bytes on their way`);
  world.socket.says({ type: "pong", timestamp: asked() });
  await world.pass(0.3, speak);
  assert.ok(bytes() - before > waits, "an answer lets the next ones go");
});

test("an answer that the cloud dropped is asked for again", async () => {
  await begin().connect();
  await world.pass(0.5, speak);
  world.answers = false;
  await world.pass(0.6, speak);
  const dropped = asked();
  await world.pass(1, speak);
  assert.ok(asked() < dropped);
  const before = spoken(world.socket).length;
  world.socket.says({ type: "pong", timestamp: asked() });
  await world.pass(0.06, speak);
  assert.ok(spoken(world.socket).length > before);
});

test("a cloud that answers no pings gets audio all the same", async () => {
  await begin().connect({ pings: false });
  world.answers = false;
  await world.pass(3, speak);
  assert.equal(spoken(world.socket).length, 100);
  assert.equal(world.socket.said.filter(({ type, timestamp }) => type === "ping" && timestamp < 0).length, 0);
});

// Each ping is answered after `trip()` seconds, in order.
function answering(trip) {
  world.answers = false;
  return () => {
    for (const socket of world.sockets.filter(({ readyState }) => readyState === 1)) {
      socket.due ??= [];
      const pings = socket.said.filter(({ type }) => type === "ping");
      for (const { timestamp } of pings.slice(socket.seen ?? 0)) {
        socket.due.push([world.now + trip(timestamp, !socket.due.length), timestamp]);
      }
      socket.seen = pings.length;
      while (socket.due.length && socket.due[0][0] <= world.now) {
        socket.says({ type: "pong", timestamp: socket.due.shift()[1] });
      }
    }
  };
}

test("a link that repeats what it loses gets coded audio, and a second socket beside the first", async () => {
  await begin({ opus: coder() }).connect({ codings: [1], beside: true });
  let number = 0;
  const answer = answering((ping, alone) => (ping < -6 && alone && number++ % 2 ? 0.2 : 0.03));
  const report = reporting(() => 0);
  const both = () => (report(), answer());
  await world.pass(5, both);
  assert.equal(world.phone.sender.sending.level.name, "lossy");
  assert.equal(world.sockets.length, 2);
  const [first, second] = world.sockets;
  assert.equal(second.url.searchParams.get("beside"), "true");
  assert.equal(second.url.searchParams.get("phone"), first.url.searchParams.get("phone"));
  second.open();
  await world.pass(1, both);
  const carried = spoken(second).map(({ position }) => position);
  assert.ok(carried.length > 20, `${carried.length} frames by the second`);
  const held = new Set(spoken(first).map(({ position }) => position));
  assert.ok(carried.filter((position) => held.has(position)).length > 20, "the same as by the first");
  second.breaks(1006);
  await world.pass(1, both);
  assert.equal(world.sockets.length, 2, "not at once again");
  await world.pass(2, both);
  assert.equal(world.sockets.length, 3);
});

test("a second socket that stands by gets what was said since the first fell silent, each sample once", async () => {
  await begin({ opus: coder() }).connect({ codings: [1], beside: true });
  const answer = answering(() => 0.03);
  const report = reporting(() => 0);
  const both = () => (report(), answer());
  await world.pass(5, both);
  assert.equal(world.sockets.length, 2, "no room carries anything");
  const [, second] = world.sockets;
  second.open();
  await world.pass(1, both);
  assert.equal(spoken(second).length, 0, "it stands by");
  const silentFrom = world.phone.capture.position;
  await world.pass(1.2, speak);
  const places = spoken(second).map(({ position }) => position);
  assert.ok(places.length > 0 && new Set(places).size === places.length, `${places}`);
  const missed = world.phone.capture.position - silentFrom;
  assert.ok(places[0] <= silentFrom + 1600, `from ${places[0]}, silent since ${silentFrom}`);
  assert.ok(places[places.length - 1] >= silentFrom + missed / 2, `${places}`);
});

test("a cloud that takes no second socket gets none", async () => {
  await begin({ opus: coder() }).connect({ codings: [1] });
  const answer = answering((ping, alone) => (ping < -6 && alone && ping % 2 ? 0.2 : 0.03));
  await world.pass(6, () => (speak(), answer()));
  assert.equal(world.sockets.length, 1);
});

const MICROPHONE = { open: async () => {}, close: async () => {} };

test("what went by a track that is heard no more goes once more, by the socket, from where it was heard last", async () => {
  await begin({ livekit: LIVEKIT, transport: "track", microphone: MICROPHONE }).connect({ audio: 1 });
  await world.pass(0.3);
  await world.pass(6, speak);
  assert.equal(world.phone.sender.sent.track, 200);
  world.answers = false;
  world.socket.says({ type: "pong", timestamp: 1, roomAgeMs: 2000 });
  world.socket.says({ type: "audio_state", state: "live", transport: "websocket", since: 0 });
  await world.pass(2, speak);
  const bytes = world.socket.sent.filter((one) => typeof one !== "string").reduce((sum, one) => sum + one.length, 0);
  const seconds = bytes / 2 / 16_000;
  assert.ok(seconds > 4.0 && seconds < 4.3, `${seconds} s: 2 s of the track, and 2 s that are new`);
});

test("a cloud that names no coding gets none", async () => {
  await begin({ opus: coder() }).connect();
  await world.pass(5, reporting(() => 0.8));
  assert.ok(spoken(world.socket).every(({ coding }) => coding === 0));
});
