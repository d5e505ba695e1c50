// A change of network that nobody tells, and bad networks that are none; in virtual time.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { judgeSilence } from "../src/network_watch.js";
import { LIVEKIT, World } from "./world.js";

const FRAME = 480; // samples of 30 ms
let world;

const speak = () => world.phone.speak(new Int16Array(FRAME).fill(1));
const others = () => world.sockets.filter(({ url }) => url.searchParams.has("beside"));
const firsts = () => world.sockets.filter(({ url }) => !url.searchParams.has("beside"));

async function speaking(options, ack = { beside: true }) {
  world = new World(options);
  await world.connect(ack);
  await world.pass(2, speak);
}

afterEach(() => world?.end());

for (const [transport, options] of [
  ["data", { livekit: LIVEKIT }],
  ["websocket", { transport: "websocket" }],
]) {
  test(`${transport}: where another connection opens and the socket stays silent, a new one is opened within 1.5 s`, async () => {
    await speaking(options);
    world.answers = false;
    const diedAt = world.now;
    await world.pass(1, speak);
    const [other] = others();
    assert.ok(other, "another connection is tried");
    assert.equal(firsts().length, 1);
    other.open();
    while (firsts().length === 1) await world.pass(0.03, speak);
    assert.ok(world.now - diedAt <= 1.5, `after ${world.now - diedAt} s`);
    assert.equal(other.closedWith, 3001);
    assert.equal(firsts()[0].closedWith, 3001, "without a goodbye, and not asked first");
  });
}

test("a socket that is heard again is kept, and the other connection is closed", async () => {
  await speaking();
  world.answers = false;
  await world.pass(0.9, speak);
  const [other] = others();
  other.open();
  await world.pass(0.2, speak);
  world.answers = true;
  await world.pass(5, speak);
  assert.equal(other.closedWith, 3001);
  assert.deepEqual([firsts().length, others().length], [1, 1]);
});

test("where no other connection opens, the next is tried, and the socket is kept for its time", async () => {
  await speaking();
  world.answers = false;
  await world.pass(2.2, speak);
  assert.equal(firsts().length, 1);
  assert.equal(others().length, 2);
  assert.equal(others()[0].closedWith, 3001);
});

test("while nobody speaks, and where the cloud takes no other connection, nothing is tried", async () => {
  await speaking();
  await world.pass(3);
  world.answers = false;
  await world.pass(2);
  assert.equal(others().length, 0);
  await world.end();
  await speaking({}, {});
  world.answers = false;
  await world.pass(2, speak);
  assert.deepEqual([firsts().length, others().length], [1, 0]);
});

test("a process that stood still blames nobody", async () => {
  await speaking();
  world.now += 0.9;
  await world.pass(0.3, speak);
  assert.equal(others().length, 0);
});

test("a long way takes longer before anything is tried", () => {
  assert.equal(judgeSilence(0.59, 0.05, null), "alive");
  assert.equal(judgeSilence(0.61, 0.05, null), "try");
  assert.equal(judgeSilence(1.5, 0.8, null), "alive");
  assert.equal(judgeSilence(1, 0.05, 0.39), "wait");
  assert.equal(judgeSilence(1, 0.05, 0.41), "changed");
});
