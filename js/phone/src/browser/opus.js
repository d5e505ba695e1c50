// Opus by WebCodecs, where the browser has it: 16 kHz, mono, one packet for each 20 ms.

import { OPUS_PACKET, SAMPLE_RATE } from "../frames.js";

const PACKET_US = (OPUS_PACKET / SAMPLE_RATE) * 1_000_000;
const LATE = 40; // milliseconds after which an encoder is asked to give out what it holds

/** @param {number} bitrate */
const configuration = (bitrate) => ({
  codec: "opus",
  sampleRate: SAMPLE_RATE,
  numberOfChannels: 1,
  bitrate,
  opus: { frameDuration: PACKET_US, application: "voip", signal: "voice" },
});

// The factory, or null where this browser does not encode Opus.
export async function opusEncoder() {
  if (globalThis.AudioEncoder === undefined) return null;
  const { supported } = await AudioEncoder.isConfigSupported(configuration(24_000)).catch(() => ({ supported: false }));
  return supported ? (/** @type {number} */ bitRate) => new WebCodecsOpus(bitRate) : null;
}

// Packets come in the order of their samples; a promise waits for each.
class WebCodecsOpus {
  /** @param {number} bitRate */
  constructor(bitRate) {
    /** @type {{done: (packet: Uint8Array) => void, fail: (error: Error) => void}[]} */
    this.waiting = [];
    this.at = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    this.encoder = new AudioEncoder({
      output: (chunk) => this.give(chunk),
      error: (error) => this.fail(error),
    });
    this.encoder.configure(configuration(bitRate));
  }

  /**
   * @param {Int16Array} samples
   * @returns {Promise<Uint8Array>}
   */
  encode(samples) {
    const data = new AudioData({
      format: "s16",
      sampleRate: SAMPLE_RATE,
      numberOfFrames: samples.length,
      numberOfChannels: 1,
      timestamp: this.at,
      data: /** @type {Int16Array<ArrayBuffer>} */ (samples),
    });
    this.at += PACKET_US;
    return new Promise((done, fail) => {
      this.waiting.push({ done, fail });
      try {
        this.encoder.encode(data);
      } finally {
        data.close();
      }
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.flush(), LATE);
    });
  }

  /** @param {EncodedAudioChunk} chunk */
  give(chunk) {
    const packet = new Uint8Array(chunk.byteLength);
    chunk.copyTo(packet);
    this.waiting.shift()?.done(packet);
  }

  flush() {
    if (!this.waiting.length || this.encoder.state !== "configured") return;
    this.encoder.flush().catch((error) => this.fail(error));
  }

  /** @param {Error} error */
  fail(error) {
    for (const { fail } of this.waiting.splice(0)) fail(error);
  }

  close() {
    clearTimeout(this.timer);
    if (this.encoder.state !== "closed") this.encoder.close();
    this.fail(new Error("the encoder was closed"));
  }
}
