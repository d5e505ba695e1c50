// The sockets of a phone, by the machine's numbers: opens them, and reports their events to the machine.

import { CloudSocket } from "./cloud_socket.js";

/** @typedef {import("./cloud.js").CloudApi} CloudApi */

export class Sockets {
  /**
   * @param {object} parts
   * @param {() => CloudApi} parts.api of the cloud that is the right one now
   * @param {typeof WebSocket} parts.Socket
   * @param {() => number} parts.clock
   * @param {string} parts.name of this phone
   * @param {"data" | "track" | "websocket"} parts.transport
   * @param {object} on
   * @param {(event: import("./machine.js").Event) => void} on.post
   * @param {(number: number, socket: CloudSocket, message: any) => void} on.message
   * @param {(socket: CloudSocket) => void} on.passed what went by it has arrived, up to a ping
   * @param {(socket: CloudSocket) => void} on.gone
   */
  constructor({ api, Socket, clock, name, transport }, on) {
    this.api = api;
    this.Socket = Socket;
    this.clock = clock;
    this.name = name;
    this.transport = transport;
    this.on = on;
    /** @type {Map<number, CloudSocket>} */
    this.known = new Map();
  }

  /**
   * What a socket tells of us.
   * @param {number} attempt
   */
  query(attempt) {
    /** @type {Record<string, string | number>} */
    const query = { phone: this.name, attempt };
    if (this.transport !== "track") query.audio = "2";
    return query;
  }

  /** @param {number} number */
  open(number) {
    const query = this.query(number);
    if (this.transport !== "websocket") query.livekit = "true";
    /** @type {CloudSocket} */
    let socket;
    const failed = (/** @type {string} */ reason, /** @type {boolean} */ final) => {
      this.known.delete(number);
      this.on.post({ type: "SocketFailed", socket: number, final, reason });
    };
    const closed = (/** @type {string} */ comeBack, /** @type {string} */ reason) => {
      this.forget(number);
      this.on.post({ type: "SocketClosed", socket: number, comeBack, reason });
    };
    const message = (/** @type {any} */ said) => this.on.message(number, socket, said);
    const passed = () => this.on.passed(socket);
    const api = this.api();
    try {
      socket = new CloudSocket(api, this.Socket, query, this.clock, { failed, closed, message, passed });
      this.known.set(number, socket);
    } catch {
      failed(`this page may not connect to ${api.base}: a page by https:// needs a cloud by https://`, true);
    }
  }

  /**
   * The second socket: all is said on the first.
   * @param {{opened: () => void, ended: () => void, passed: () => void}} on
   */
  openBeside({ opened, ended, passed }) {
    const query = { ...this.query(0), beside: "true" };
    const on = { opened, failed: ended, closed: ended, message: () => {}, passed };
    return new CloudSocket(this.api(), this.Socket, query, this.clock, on);
  }

  /**
   * @param {number} number
   * @param {object} message
   */
  say(number, message) {
    this.known.get(number)?.say(message);
  }

  /**
   * @param {number} number
   * @param {boolean} goodbye
   */
  hangUp(number, goodbye) {
    this.forget(number)?.close(goodbye);
  }

  /** @param {number} number */
  forget(number) {
    const socket = this.known.get(number);
    this.known.delete(number);
    if (socket !== undefined) this.on.gone(socket);
    return socket;
  }
}
