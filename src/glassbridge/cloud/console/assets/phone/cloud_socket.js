// One connection to the cloud (`/glasses-ws`), used once. Deadlines are the machine's.

const PATH = "/glasses-ws";
const PROBE_TIMEOUT = 3_000;
const FULL = 160_000; // bytes that wait: five seconds of audio
const NORMAL = 1000;
const GIVEN_UP = 3001;

// Meaning, and whether to come back: the table of wire/close_codes.py.
export const CLOSE_CODES = {
  1000: ["said goodbye", "no"],
  1001: ["lost the network; not a goodbye (traps 27)", "later"],
  1002: ["not what the WebSocket protocol allows", "later"],
  1006: ["the connection broke", "later"],
  1008: ["refused: sign in again", "no"],
  1009: ["a message over the size limit", "later"],
  1011: ["the server failed", "later"],
  4001: ["a newer socket of the same user took over", "no"],
  4002: ["the server is shutting down; come back soon", "now"],
  4003: ["nothing was heard from the phone for too long", "later"],
  4004: ["the session was ended", "no"],
  4005: ["the phone does not read what it is sent", "later"],
  4006: ["more messages or bytes than are allowed, and on after it was told", "later"],
  4401: ["the token has expired or was withdrawn: sign in again", "no"],
};

export class CloudSocket {
  // `on` has failed(reason, final), message(object), closed(comeBack, reason); `query` tells the cloud what we want.
  constructor(coreToken, query, on) {
    const url = new URL(PATH, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.search = new URLSearchParams({ ...query, token: coreToken });
    this.coreToken = coreToken;
    this.on = on;
    this.opened = false;
    this.ws = new WebSocket(url);
    this.ws.onopen = () => (this.opened = true);
    this.ws.onmessage = ({ data }) => this.hear(data);
    this.ws.onclose = ({ code }) => this.end(code);
  }

  hear(data) {
    const message = JSON.parse(data);
    if (message.type === "ping") this.say({ type: "pong", timestamp: message.timestamp });
    else this.on.message(message);
  }

  async end(code) {
    if (!this.opened) {
      const [reason, final] = await this.whyRefused();
      this.on.failed(reason, final);
      return;
    }
    const [meaning, comeBack] = CLOSE_CODES[code] ?? [`code ${code}`, "later"];
    this.on.closed(comeBack, comeBack === "no" ? `the cloud closed the connection: ${meaning}` : meaning);
  }

  // A browser does not tell why a socket was refused: another address of the cloud is asked.
  async whyRefused() {
    const headers = { Authorization: `Bearer ${this.coreToken}` };
    try {
      const signal = AbortSignal.timeout(PROBE_TIMEOUT);
      const answer = await fetch("/api/client/livekit/token", { headers, signal, cache: "no-store" });
      if (answer.status === 401)
        return ["the cloud refuses the token (401): get a fresh one with `glassbridge token`", true];
      return [answer.ok ? "the socket was refused" : `status ${answer.status}`, false];
    } catch {
      return ["no answer", false];
    }
  }

  say(message) {
    if (this.ws.readyState === WebSocket.OPEN) this.ws.send(JSON.stringify(message));
  }

  sendAudio(bytes) {
    if (this.ws.readyState !== WebSocket.OPEN || this.ws.bufferedAmount > FULL) return false;
    this.ws.send(bytes);
    return true;
  }

  close(goodbye) {
    this.ws.close(goodbye ? NORMAL : GIVEN_UP);
  }
}
