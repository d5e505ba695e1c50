// A whole phone, in virtual time, with a cloud that the tests play.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { World } from "./world.js";

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
  const types = world.socket.said.map(({ type }) => type);
  assert.deepEqual(types, ["ping", "glasses_connection_state", "microphone_state_change", "VAD"]);
  assert.equal(world.socket.said[0].every, 1);
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
  await world.pass(0.3);
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
  await world.pass(0.03);
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
    const socket = [spoken(world.socket).length, position, late() * 1000];
    world.socket.says({ type: "audio_ack", epoch, position: 0, socket });
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
  await world.pass(12, reporting(() => (late += 0.1)));
  assert.equal(world.phone.sender.sending.level.name, "thin");
  assert.equal(world.phone.machine.place.narrow, true);
});

test("a link that a probe finds narrow is never filled with PCM; one delayed probe tells nothing", async () => {
  for (const [delays, level] of [
    [[0.6, 0.6], "thin"],
    [[0.6, 0.06], "lossy"],
    [[0.06], "guarded"],
  ]) {
    begin({ opus: coder() });
    world.answers = false;
    await world.connect({ codings: [1] });
    for (const [i, delay] of delays.entries()) {
      await world.pass(delay);
      const { timestamp } = world.socket.said.findLast(({ type, timestamp }) => type === "ping" && timestamp < 0);
      assert.equal(timestamp, -1 - i);
      world.socket.says({ type: "pong", timestamp });
    }
    assert.equal(world.phone.sender.sending.level.name, level);
    assert.equal(world.phone.machine.socket.state, "ready");
    if (level !== "guarded") await world.end();
  }
});

test("a cloud that names no coding gets none", async () => {
  await begin({ opus: coder() }).connect();
  await world.pass(5, reporting(() => 0.8));
  assert.ok(spoken(world.socket).every(({ coding }) => coding === 0));
});
