// One connection to the cloud (`/glasses-ws`), used once. Deadlines are the machine's.

import { Pace } from "./pace.js";
import { RULES } from "./rules.js";

/** @typedef {import("./cloud.js").CloudApi} CloudApi */

const NORMAL = 1000;
const GIVEN_UP = 3001;
const OPEN = 1;

/** @type {Record<string, string[]>} Meaning, and whether to come back. */
const CLOSE_CODES = RULES.wire.closeCodes;

/**
 * @typedef {object} SocketEvents
 * @property {() => void} [opened]
 * @property {(reason: string, final: boolean) => void} failed
 * @property {(message: any) => void} message
 * @property {() => void} passed what was sent has arrived, up to a ping of its pace
 * @property {(comeBack: string, reason: string) => void} closed
 */

export class CloudSocket {
  /**
   * @param {CloudApi} api
   * @param {typeof WebSocket} Socket
   * @param {Record<string, string | number>} query tells the cloud what we want
   * @param {() => number} clock
   * @param {SocketEvents} on
   */
  constructor(api, Socket, query, clock, on) {
    this.api = api;
    this.on = on;
    this.clock = clock;
    this.opened = false;
    this.ended = false;
    this.heardAt = -Infinity;
    this.ws = new Socket(api.socketUrl(query));
    this.ws.binaryType = "arraybuffer";
    this.pace = new Pace(clock, (timestamp) => this.say({ type: "ping", timestamp }));
    this.ws.onopen = () => {
      this.opened = api.answered = true;
      on.opened?.();
    };
    this.ws.onmessage = ({ data }) => this.hear(data);
    this.ws.onclose = ({ code }) => this.end(code);
    // `onclose` follows, except on Node 20 where there never was a connection.
    this.ws.onerror = () => this.opened || this.end(1006);
  }

  /** @param {any} data */
  hear(data) {
    this.heardAt = this.clock();
    if (typeof data !== "string") return;
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return; // a cloud of another version: what is not understood is ignored
    }
    if (message?.type === "ping") this.say({ type: "pong", timestamp: message.timestamp });
    else if (message?.type === "pong" && this.pace.hears(message.timestamp)) this.on.passed();
    else if (message) this.on.message(message);
  }

  // From when on the cloud owes an answer and says nothing; infinite: it owes none.
  get silentSince() {
    const [oldest] = this.pace.asked;
    return oldest === undefined ? Infinity : Math.max(oldest.at, this.heardAt);
  }

  /** @param {number} code */
  async end(code) {
    if (this.ended) return;
    this.ended = true;
    if (!this.opened) {
      const { reason, final } = await this.api.whyRefused();
      this.on.failed(reason, final);
      return;
    }
    const [meaning, comeBack] = CLOSE_CODES[code] ?? [`code ${code}`, "later"];
    this.on.closed(comeBack, comeBack === "no" ? `the cloud closed the connection: ${meaning}` : meaning);
  }

  /** @param {object} message */
  say(message) {
    if (this.ws.readyState === OPEN) this.ws.send(JSON.stringify(message));
  }

  /**
   * False: it takes no more now.
   * @param {Uint8Array} bytes
   * @param {number} most bytes that may wait in the socket
   */
  sendAudio(bytes, most) {
    if (this.ws.readyState !== OPEN || this.ws.bufferedAmount > most) return false;
    this.ws.send(/** @type {Uint8Array<ArrayBuffer>} */ (bytes));
    return true;
  }

  /**
   * A frame of a stream of `rate` bytes a second. False: its way carries no more now.
   * @param {Uint8Array} bytes
   * @param {number} rate
   * @param {number} most bytes that may wait in the socket
   */
  sendPaced(bytes, rate, most) {
    if (!this.pace.takes(rate) || !this.sendAudio(bytes, most)) return false;
    this.pace.sent(bytes.length);
    return true;
  }

  /** @param {boolean} goodbye */
  close(goodbye) {
    this.ws.close(goodbye ? NORMAL : GIVEN_UP);
  }
}
