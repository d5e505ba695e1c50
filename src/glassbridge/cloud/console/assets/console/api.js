// Talks to the cloud: signing in, and the stream of what changes.

const SILENT = 3_500; // milliseconds without a word while somebody is connected: what is shown is old
const AGAIN = 1_000;
const NO_ANSWER = "The cloud does not answer: trying again";

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// The `data` of an answer, or the plain object. Throws Refused with a sentence for people.
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw new Refused(0, "the cloud does not answer");
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok && body.error) throw new Refused(answer.status, body.error.message);
  return body.data ?? body;
}

const post = (path, body) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const signIn = (token) => post("/api/admin/login", { token });
export const signOut = () => post("/api/admin/logout", {});
export const development = () => ask("/api/dev");
export const press = (key) => post(`/api/dev/faults/${key}`, {});

// One stream at a time; it reconnects by itself. `on` has message(object), state(text, wrong), refused().
export class Feed {
  constructor(on) {
    this.on = on;
    this.busy = false;
  }

  // Begins anew, with this session watched; null watches none.
  watch(id) {
    this.close();
    const source = (this.source = new EventSource(`/api/admin/live${id ? `?watch=${encodeURIComponent(id)}` : ""}`));
    this.heardAt = performance.now();
    this.looking = setInterval(() => this.look(), 500);
    source.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      this.heardAt = performance.now();
      this.on.message(message);
      this.tell("");
    };
    source.onerror = () => this.failed(source);
  }

  // Whether anybody is connected: only then silence means something.
  expect(busy) {
    this.busy = busy;
  }

  async failed(source) {
    this.tell(NO_ANSWER);
    if (source.readyState !== EventSource.CLOSED) return; // the browser tries again
    try {
      await ask("/api/admin/sessions?user=-");
      this.tell("Too many pages watch this cloud: trying again");
    } catch (error) {
      if (error.status === 401 || error.status === 403) {
        this.close();
        this.on.refused(error.status === 403 ? error.message : "");
        return;
      }
    }
    if (this.source === source) this.again = setTimeout(() => this.source === source && this.on.again(), AGAIN);
  }

  look() {
    const silent = performance.now() - this.heardAt;
    if (this.busy && silent > SILENT) {
      this.tell("Nothing is heard from the cloud: what you see is old");
    }
  }

  tell(text) {
    if (text !== this.told) this.on.state(text);
    this.told = text;
  }

  close() {
    clearInterval(this.looking);
    clearTimeout(this.again);
    this.source?.close();
    this.source = null;
  }
}
