// Numbered audio on the wire (docs/numbered-audio.md, wire/audio_frames.py).

import { RULES } from "./rules.js";

const { ENCODER_SHIFT, HEADER_BYTES, VERSION } = RULES.constants.audio_frames;
export const { TOPIC_NUMBERED, CODING_PCM16, CODING_OPUS, OPUS_PACKET } = RULES.constants.audio_frames;
export const { FLAG_REPLAYED, FLAG_PRESENCE, FLAG_LAST, FLAG_REPAIR } = RULES.constants.audio_frames;
export const { ENCODERS } = RULES.constants.audio_frames;
export const { sampleRate: SAMPLE_RATE } = RULES.wire;

/**
 * @typedef {object} FrameNumber
 * @property {number} epoch random at each start of the capture
 * @property {number} position index of the first sample within the epoch
 * @property {number} capturedUs when that was captured: microseconds on a clock that goes on in sleep
 * @property {number} flags
 */

/** @typedef {FrameNumber & {samples: Int16Array}} Frame Captured samples with their number; a presence frame has none. */

export const NO_SAMPLES = new Int16Array(0);

/**
 * The position after the last sample.
 * @param {Frame} frame
 */
export const stopOf = (frame) => frame.position + frame.samples.length;

/**
 * The bytes of a frame whose payload is as `coding` says.
 * @param {FrameNumber} number
 * @param {number} coding
 * @param {number} size of the payload
 */
function framed({ epoch, position, capturedUs, flags }, coding, size) {
  const bytes = new Uint8Array(HEADER_BYTES + size);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, VERSION);
  view.setUint8(1, flags);
  view.setUint16(2, coding, true);
  view.setUint32(4, epoch, true);
  putLong(view, 8, position);
  putLong(view, 16, Math.max(0, Math.round(capturedUs)));
  return bytes;
}

/**
 * A 64-bit number below 2^53; not every engine of React Native writes a BigInt.
 * @param {DataView} view
 * @param {number} at
 * @param {number} value
 */
function putLong(view, at, value) {
  view.setUint32(at, value % 2 ** 32, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}

/**
 * Little-endian bytes of samples, on any machine.
 * @param {Int16Array} samples
 * @param {Uint8Array} bytes where they go
 * @param {number} at from here on
 */
function putSamples(samples, bytes, at) {
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < samples.length; i += 1) view.setInt16(at + 2 * i, samples[i], true);
  return bytes;
}

/**
 * A frame of PCM, or of presence.
 * @param {Frame} frame
 */
export const encodePcm = (frame) =>
  putSamples(frame.samples, framed(frame, CODING_PCM16, 2 * frame.samples.length), HEADER_BYTES);

/**
 * These flags, and the number of the encoder.
 * @param {number} encoder
 * @param {number} flags
 */
export const madeBy = (encoder, flags) => flags | (encoder << ENCODER_SHIFT);

/**
 * A frame of Opus packets, which cover `samples` samples.
 * @param {FrameNumber} number
 * @param {Uint8Array[]} packets
 * @param {number} samples
 */
export function encodeOpus(number, packets, samples) {
  const bytes = framed(number, CODING_OPUS, packets.reduce((sum, packet) => sum + 2 + packet.length, 2));
  const view = new DataView(bytes.buffer);
  view.setUint16(HEADER_BYTES, samples, true);
  let at = HEADER_BYTES + 2;
  for (const packet of packets) {
    view.setUint16(at, packet.length, true);
    bytes.set(packet, at + 2);
    at += 2 + packet.length;
  }
  return bytes;
}

/**
 * What a cloud gets that does not know numbers: on a socket plain samples, in the room after a counter of one byte.
 * @param {Int16Array} samples
 * @param {number | null} counter
 */
export function encodePlain(samples, counter = null) {
  const ahead = counter === null ? 0 : 1;
  const bytes = putSamples(samples, new Uint8Array(ahead + 2 * samples.length), ahead);
  if (counter !== null) bytes[0] = counter;
  return bytes;
}
