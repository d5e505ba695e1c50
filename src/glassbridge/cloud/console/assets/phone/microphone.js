// The browser's microphone as frames of samples, and as a track that can be published.

import { RATE } from "./frames.js";

const LATE = 2; // seconds by which a frame may come late without having been captured late

export class Microphone {
  // `onFrame(samples, capturedAt)`: in seconds of `clock`, of the first sample.
  constructor(clock, onFrame) {
    this.clock = clock;
    this.onFrame = onFrame;
    this.anchor = Infinity;
  }

  // Asks the person. Throws an Error whose message says what to do.
  async open() {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("browsers give the microphone to https:// pages and to localhost only: open this page there");
    }
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({
        audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
      });
    } catch (error) {
      throw new Error(
        error.name === "NotAllowedError"
          ? "the microphone was not allowed: allow it beside the address, then start again"
          : `there is no microphone that can be used (${error.name})`,
      );
    }
    this.context = await this.graph(new AudioContext({ sampleRate: RATE }));
  }

  async graph(context) {
    let source;
    try {
      source = context.createMediaStreamSource(this.stream);
    } catch {
      await context.close(); // this browser wants the microphone's own rate: the worklet makes 16 kHz of it
      context = new AudioContext();
      source = context.createMediaStreamSource(this.stream);
    }
    await context.audioWorklet.addModule(new URL("./worklet.js", import.meta.url));
    const cutter = new AudioWorkletNode(context, "cutter", { channelCount: 1, channelCountMode: "explicit" });
    cutter.port.onmessage = ({ data }) => this.take(data.samples, data.endsAt);
    this.gain = context.createGain();
    this.published = context.createMediaStreamDestination();
    source.connect(cutter).connect(context.destination); // silence: without a destination nothing would run
    source.connect(this.gain).connect(this.published);
    await context.resume();
    return context;
  }

  // A busy page gets frames late and in bursts; the audio thread's own time says when they were captured.
  take(samples, endsAt) {
    const offset = this.clock() - endsAt;
    if (offset < this.anchor || offset > this.anchor + LATE) this.anchor = offset;
    this.onFrame(samples, this.anchor + endsAt - samples.length / RATE);
  }

  get track() {
    return this.published.stream.getAudioTracks()[0];
  }

  // What a published track carries: sound, or silence.
  audible(on) {
    if (this.gain) this.gain.gain.value = on ? 1 : 0;
  }

  async close() {
    this.stream?.getTracks().forEach((track) => track.stop());
    await this.context?.close();
    this.context = null;
  }
}
