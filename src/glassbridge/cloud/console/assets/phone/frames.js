// Numbered audio (docs/numbered-audio.md): the frame, and the microphone's side of it.

export const TOPIC = "gb.audio.2";
export const RATE = 16_000;
const HEADER = 24;
const VERSION = 2;
export const REPLAYED = 1;
export const PRESENCE = 2;
export const LAST = 4;
const KEPT_SAMPLES = 90 * RATE;

const NOTHING = new Int16Array(0);

// The bytes of a frame, with its samples or, when it only tells of presence, without.
export function encode({ epoch, position, capturedUs, samples }, flags = 0) {
  if (flags & PRESENCE) samples = NOTHING;
  const bytes = new Uint8Array(HEADER + samples.length * 2);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, VERSION);
  view.setUint8(1, flags);
  view.setUint16(2, 0, true);
  view.setUint32(4, epoch, true);
  view.setBigUint64(8, BigInt(position), true);
  view.setBigUint64(16, BigInt(Math.max(0, Math.round(capturedUs))), true);
  samples.forEach((sample, i) => view.setInt16(HEADER + 2 * i, sample, true));
  return bytes;
}

// One run of the capture: numbers what is captured, and keeps it until the cloud has it (phone/capture.py).
export class Capture {
  constructor(clock, epoch = crypto.getRandomValues(new Uint32Array(1))[0]) {
    this.epoch = epoch;
    this.following = null;
    this.position = 0;
    this.acknowledged = 0;
    this.missing = [];
    this.kept = [];
    this.keptSamples = 0;
    this.clock = clock;
  }

  take(samples, capturedUs) {
    const frame = { epoch: this.epoch, position: this.position, capturedUs, samples };
    this.position += samples.length;
    this.kept.push(frame);
    this.keptSamples += samples.length;
    while (this.keptSamples > KEPT_SAMPLES) this.keptSamples -= this.kept.shift().samples.length;
    return frame;
  }

  presence(microphoneOn) {
    return encode(this.here(), microphoneOn ? PRESENCE : PRESENCE | LAST);
  }

  // Where that begins which a backend may still get.
  beginning() {
    return encode(this.kept[0] ?? this.here(), PRESENCE | REPLAYED);
  }

  here() {
    return { epoch: this.epoch, position: this.position, capturedUs: this.clock() * 1e6 };
  }

  // Numbers anew from 0 as soon as nothing of this epoch is kept: no sample is given up for it.
  endEpoch(following = crypto.getRandomValues(new Uint32Array(1))[0]) {
    this.following = following;
    this.beginFollowing();
  }

  beginFollowing() {
    if (this.following === null || this.kept.length > 0) return;
    Object.assign(this, { epoch: this.following, following: null, position: 0, acknowledged: 0, missing: [] });
  }

  // Other epochs and nonsense are ignored. Returns what the cloud would still take, cut to the samples that are missing.
  acknowledge({ epoch, position, missing = [] }) {
    if (epoch !== this.epoch || position < this.acknowledged || position > this.position) return [];
    this.acknowledged = position;
    const lacks = (frame) =>
      missing.some(([start, stop]) => frame.position < stop && start < end(frame));
    this.kept = this.kept.filter((frame) => end(frame) > position || lacks(frame));
    this.keptSamples = this.kept.reduce((sum, frame) => sum + frame.samples.length, 0);
    this.beginFollowing();
    return this.kept.flatMap((frame) =>
      missing
        .map(([start, stop]) => cut(frame, Math.max(start, frame.position), Math.min(stop, end(frame))))
        .filter(({ samples }) => samples.length > 0),
    );
  }
}

const end = (frame) => frame.position + frame.samples.length;

// The samples [start, stop) of a frame; none where stop is not after start.
function cut(frame, start, stop) {
  const skip = start - frame.position;
  const capturedUs = frame.capturedUs + Math.floor((skip * 1_000_000) / RATE);
  const samples = frame.samples.subarray(skip, Math.max(skip, stop - frame.position));
  return { ...frame, position: start, capturedUs, samples };
}
