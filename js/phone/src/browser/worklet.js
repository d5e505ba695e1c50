// In the audio thread: cuts the microphone into frames of 30 ms, 16 kHz, 16 bits; one fits a datagram.

const RATE = 16_000;
const FRAME = 480;

class Cutter extends AudioWorkletProcessor {
  constructor() {
    super();
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.step = sampleRate / RATE; // 1 where the browser gives us 16 kHz; else each sample is the mean of its share
    this.due = this.step;
    this.sum = 0;
    this.count = 0;
  }

  /** @param {Float32Array[][]} inputs */
  process([channels]) {
    for (const value of channels[0] ?? []) {
      this.sum += value;
      this.count += 1;
      this.due -= 1;
      if (this.due <= 0) this.put(this.sum / this.count);
    }
    return true;
  }

  /** @param {number} value */
  put(value) {
    this.due += this.step;
    this.sum = this.count = 0;
    this.frame[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(value * 32767)));
    if (this.filled < FRAME) return;
    this.port.postMessage({ samples: this.frame, endsAt: currentTime }, [this.frame.buffer]);
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
  }
}

registerProcessor("cutter", Cutter);
