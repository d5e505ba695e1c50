// What the JavaScript phone makes of the vectors of tests/js/vectors.py, in Node (play.mjs) and in Chromium.

import { Capture } from "../../js/phone/src/capture.js";
import { blame } from "../../js/phone/src/events.js";
import { Coder, encoded, outgoing, recoded, repaired } from "../../js/phone/src/coding.js";
import { encodePcm } from "../../js/phone/src/frames.js";
import { PhoneLink } from "../../js/phone/src/link.js";
import { inFlight } from "../../js/phone/src/pace.js";
import { rateOf } from "../../js/phone/src/probe.js";
import { chooseAgain, chooseRoutes, isDoubtful, presenceInterval } from "../../js/phone/src/routes.js";
import { Sending } from "../../js/phone/src/sending.js";
import { LEVELS } from "../../js/phone/src/sending_levels.js";
import { TrackTail } from "../../js/phone/src/track_tail.js";

// One schedule of the link: what each step gives, and which states it leads to.
function link({ room, chances, steps }) {
  let drawn = 0;
  const machine = new PhoneLink(() => chances[drawn++ % chances.length], room);
  return steps.map(([event, now]) => {
    const effects = machine.step(event, now);
    return [effects, machine.nextDeadline(), machine.socket.state, machine.place.state];
  });
}

// One schedule of the sender: after each step the level, and whether a second socket is to carry, or to stand by.
function sending(steps) {
  const machine = new Sending();
  return steps.map(([now, what, ...given]) => {
    if (what === "reported") machine.reported(new Map(given[0]), given[1]);
    else machine[what](...given);
    return [machine.level.name, machine.doubles(now), machine.spares];
  });
}

// What went by a track, and what of it goes again.
function tail(steps) {
  const run = new TrackTail();
  return steps.map(([step, ...given]) => {
    if (step === "take") return run.take(given[0]).map((piece) => [...piece]);
    run.note({ capturedUs: given[0], samples: Int16Array.from(given[1]) });
    return [];
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
      return [...run.missing, ...run.newest(given[1])].map((frame) => [...encodePcm(frame)]);
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
  const [live, again] = [new Coder(opus, run), new Coder(opus, run)];
  const out = [];
  for (const [step, index, ...given] of steps) {
    const level = LEVELS[index];
    let made;
    if (step === "code") made = await live.code(run.take(Int16Array.from(given[0]), given[1], given[2]), level);
    else if (step === "flush") made = await live.flush(level);
    else if (step === "recoded") made = await recoded(run.kept.map(outgoing), run, level, again);
    else made = await repaired(run.kept.slice(...given), level, again);
    out.push(made.map((frame) => [...encoded(frame, level.copies)]));
  }
  return out;
}

// Everything that is decided beside the tables.
export async function decide(given) {
  return {
    link: given.link.map(link),
    sending: given.sending.map(sending),
    capture: capture(given.capture),
    coding: await coding(given.coding),
    blame: given.blame.map(blame),
    routes: given.routes.map(chooseRoutes),
    again: given.again.map(([age, known]) => chooseAgain(age, known)),
    presence: given.presence.map((case_) => presenceInterval(...case_)),
    silence: given.silence.map((case_) => isDoubtful(...case_)),
    pace: given.pace.map(([now, least, lasting, rate]) => Math.round(inFlight({ now, least }, lasting, rate))),
    probe: given.probe.map(rateOf).map((rate) => rate && Math.round(rate)),
    tail: tail(given.tail),
  };
}
