// Plays to the JavaScript phone what a test has written on standard input, and prints what it made of it.

import { Capture } from "../../js/phone/src/capture.js";
import { blame } from "../../js/phone/src/events.js";
import { Coder, encoded, outgoing, recoded, repair } from "../../js/phone/src/coding.js";
import { encodePcm } from "../../js/phone/src/frames.js";
import { PhoneLink } from "../../js/phone/src/link.js";
import { RULES } from "../../js/phone/src/rules.js";
import { LEVELS, Sending } from "../../js/phone/src/sending.js";

const TABLES = RULES.machines;

// One schedule of the link: what each step gives, and which states it leads to.
function link({ room, chances, steps }) {
  let drawn = 0;
  const machine = new PhoneLink(() => chances[drawn++ % chances.length], room);
  return steps.map(([event, now]) => {
    const effects = machine.step(event, now);
    return [effects, machine.nextDeadline(), machine.socket.state, machine.place.state];
  });
}

// One schedule of the sender: the level after each step.
function sending(steps) {
  const machine = new Sending();
  return steps.map(([what, ...given]) => {
    if (what === "reported") machine.reported(new Map(given[0]), given[1]);
    else machine[what](...given);
    return machine.level.name;
  });
}

// What a microphone and its cloud do, and the frames that come of it.
function capture(steps) {
  const run = new Capture(() => 12.5, 7);
  return steps.map(([step, ...given]) => {
    if (step === "take") return [...encodePcm(run.take(Int16Array.from(given[0]), given[1], given[2]))];
    if (step === "presence") return [...encodePcm(run.presence(given[0]))];
    if (step === "acknowledge") {
      run.acknowledge(given[0]);
      return run.missing.map((frame) => [...encodePcm(frame)]);
    }
    return [...encodePcm(run[step]())];
  });
}

// A codec that anybody can compute: the sum of a packet's samples.
const opus = () => ({
  encode: async (samples) => {
    const sum = samples.reduce((all, one) => (all + one) & 0xffff, 0);
    return Uint8Array.from([samples.length & 255, sum & 255, sum >> 8]);
  },
  close() {},
});

// Frames of one capture at changing levels: what travels.
async function coding(steps) {
  const run = new Capture(() => 12.5, 7);
  const [live, again] = [new Coder(opus), new Coder(opus)];
  const out = [];
  for (const [step, index, ...given] of steps) {
    const level = LEVELS[index];
    let made;
    if (step === "code") made = await live.code(run.take(Int16Array.from(given[0]), given[1], given[2]), level);
    else if (step === "flush") made = await live.flush(level);
    else if (step === "recoded") made = await recoded(run.kept.map(outgoing), run, level, again);
    else made = (await Promise.all(run.kept.slice(0, 1).map((frame) => repair(frame, level, again)))).flat();
    out.push(made.map((frame) => [...encoded(frame, level.copies)]));
  }
  return out;
}

let text = "";
for await (const piece of process.stdin) text += piece;
const given = JSON.parse(text);
const found = {
  link: given.link.map(link),
  sending: given.sending.map(sending),
  capture: capture(given.capture),
  coding: await coding(given.coding),
  blame: given.blame.map(blame),
  tables: Object.keys(TABLES),
};
process.stdout.write(JSON.stringify(found));
