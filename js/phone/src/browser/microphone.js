// The browser's microphone as frames of samples, and as a track that can be published.

import { SAMPLE_RATE } from "../frames.js";

const START = 5_000; // milliseconds
const LATE = 2; // seconds by which a frame may come late without having been captured late

/**
 * Firefox waits for ever where the computer has no sound output.
 * @param {AudioContext} context
 */
async function started(context) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, START, "late")));
  const result = await Promise.race([context.resume(), late]);
  clearTimeout(timer);
  if (result === "late") {
    void context.close(); // that may wait as well
    throw new Error("the browser does not start its sound: connect a loudspeaker or headphones, then start again");
  }
}

export class Microphone {
  /** @param {string | URL} worklet the file of the audio thread, where a bundler moves it */
  constructor(worklet = new URL("./worklet.js", import.meta.url)) {
    this.worklet = worklet;
    this.anchor = Infinity;
    this.onFrame = (/** @type {Int16Array} */ _samples, /** @type {number} */ _at) => {};
    this.clock = () => 0;
    /** @type {AudioContext | null} */
    this.context = null;
  }

  /**
   * Asks the person. Throws an Error whose message says what to do.
   * @param {(samples: Int16Array, capturedAt: number) => void} onFrame in seconds of `clock`, of the first sample
   * @param {() => number} clock
   */
  async open(onFrame, clock) {
    this.onFrame = onFrame;
    this.clock = clock;
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("browsers give the microphone to https:// pages and to localhost only: open this page there");
    }
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({
        audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
      });
    } catch (error) {
      const { name } = /** @type {Error} */ (error);
      throw new Error(
        name === "NotAllowedError"
          ? "the microphone was not allowed: allow it beside the address, then start again"
          : `there is no microphone that can be used (${name})`,
      );
    }
    try {
      this.context = await this.graph(this.stream, new AudioContext({ sampleRate: SAMPLE_RATE }));
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** @param {MediaStream} stream @param {AudioContext} context */
  async graph(stream, context) {
    let source;
    try {
      source = context.createMediaStreamSource(stream);
    } catch {
      await context.close(); // this browser wants the microphone's own rate: the worklet makes 16 kHz of it
      context = new AudioContext();
      source = context.createMediaStreamSource(stream);
    }
    await context.audioWorklet.addModule(this.worklet);
    const cutter = new AudioWorkletNode(context, "cutter", { channelCount: 1, channelCountMode: "explicit" });
    cutter.port.onmessage = ({ data }) => this.take(data.samples, data.endsAt);
    this.gain = context.createGain();
    this.published = context.createMediaStreamDestination();
    source.connect(cutter).connect(context.destination); // silence: without a destination nothing would run
    source.connect(this.gain).connect(this.published);
    await started(context);
    return context;
  }

  // A busy page gets frames late and in bursts; the audio thread's own time says when they were captured.
  /** @param {Int16Array} samples @param {number} endsAt */
  take(samples, endsAt) {
    const offset = this.clock() - endsAt;
    if (offset < this.anchor || offset > this.anchor + LATE) this.anchor = offset;
    this.onFrame(samples, this.anchor + endsAt - samples.length / SAMPLE_RATE);
  }

  get track() {
    return this.published?.stream.getAudioTracks()[0];
  }

  // What a published track carries: sound, or silence.
  /** @param {boolean} on */
  audible(on) {
    if (this.gain) this.gain.gain.value = on ? 1 : 0;
  }

  async close() {
    this.stream?.getTracks().forEach((track) => track.stop());
    await this.context?.close();
    this.context = null;
  }
}
