// What a phone asks its cloud by HTTP: a LiveKit token, the list of apps, and why a socket was refused.

/**
 * @typedef {{url: string, token: string, room: string, identity: string}} Ticket
 * @typedef {{packageName: string, name: string, state: string}} App
 */

const TIMEOUT = 5_000;

/**
 * A signal that ends a request after so many milliseconds, or with `signal`.
 * @param {number} ms
 * @param {AbortSignal} [signal]
 */
function deadline(ms, signal) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), ms);
  signal?.addEventListener("abort", () => abort.abort());
  return { signal: abort.signal, over: () => clearTimeout(timer) };
}

export class CloudApi {
  /**
   * @param {string} url of the cloud, such as https://cloud.example.com
   * @param {string} token the core token
   */
  constructor(url, token) {
    this.base = baseUrl(url);
    this.token = token;
    this.answered = false;
  }

  /**
   * @param {string} path
   * @param {AbortSignal} [signal]
   * @returns {Promise<{status: number, data: any}>}
   */
  async get(path, signal) {
    const until = deadline(TIMEOUT, signal);
    try {
      const headers = { Authorization: `Bearer ${this.token}` };
      const answer = await fetch(this.base + path, { headers, signal: until.signal, cache: "no-store" });
      this.answered = true;
      return { status: answer.status, data: answer.ok ? (await answer.json()).data : null };
    } finally {
      until.over();
    }
  }

  /**
   * Where the LiveKit room is, with a fresh token.
   * @param {AbortSignal} [signal]
   * @returns {Promise<Ticket>}
   */
  async ticket(signal) {
    const { status, data } = await this.get("/api/client/livekit/token", signal);
    if (data === null) throw new Error(`the cloud gives no LiveKit token (status ${status})`);
    return data;
  }

  /** @returns {Promise<App[]>} */
  async apps() {
    const { status, data } = await this.get("/api/client/apps");
    if (data === null) throw new Error(`the cloud does not list its apps (${status}): try again`);
    return data;
  }

  /**
   * A browser does not tell why a socket was refused: another address of the cloud is asked.
   * @returns {Promise<{reason: string, final: boolean}>}
   */
  async whyRefused() {
    try {
      const { status } = await this.get("/api/client/livekit/token");
      if (status === 401) {
        const reason = "the cloud refuses the token (401): get a fresh one with `glassbridge token`";
        return { reason, final: true };
      }
      return { reason: status === 200 ? "the socket was refused" : `status ${status}`, final: false };
    } catch {
      return { reason: this.answered ? "no answer" : `no answer${hint(this.base)}`, final: false };
    }
  }

  /** @param {Record<string, string | number>} query */
  socketUrl(query) {
    const all = Object.entries({ ...query, token: this.token });
    const text = all.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
    return `${this.base.replace(/^http/, "ws")}/glasses-ws?${text}`;
  }
}

/**
 * A browser hides from a page why it may not ask another host.
 * @param {string} base
 */
function hint(base) {
  const page = globalThis.location?.origin;
  if (page === undefined || page === new URL(base).origin) return "";
  return `; if it runs, its GLASSBRIDGE_ALLOWED_ORIGINS must name ${page}`;
}

/**
 * In one spelling: http or https, no slash at the end.
 * @param {string} url
 */
function baseUrl(url) {
  const found = /^(?:http|ws)(s?):\/\/([^/?#\s@]+)(\/[^?#\s]*)?$/i.exec(url.trim());
  if (found === null) throw new Error("not a cloud's URL: it looks like http://127.0.0.1:8002");
  const [, secure, host, path = ""] = found;
  return `http${secure.toLowerCase()}://${host}${path.replace(/\/+$/, "")}`;
}
