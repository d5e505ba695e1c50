// Talks to the cloud: signing in, and the stream of what changes.

const SILENT = 2_500; // milliseconds without a word after which the cloud is asked for one
const ANSWER = 1_500; // milliseconds that it may take: then what is shown is old
const ALIVE = "/livez";
const WHOEVER = "/api/admin/sessions?user=-"; // whether we may
const AGAIN = 1_000;
const OLD = "Nothing is heard from the cloud: what you see is old";
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
    this.told = "";
    this.asking = false;
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

  async failed(source) {
    this.tell(NO_ANSWER);
    if (source.readyState !== EventSource.CLOSED) return; // the browser tries again
    try {
      await ask(WHOEVER);
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

  // Where nothing changes the cloud says nothing; whether it could is another question.
  async look() {
    const source = this.source;
    const known = () => this.told && this.told !== OLD;
    if (this.asking || known() || performance.now() - this.heardAt < SILENT) return;
    this.asking = true;
    const answers = await fetch(ALIVE, { signal: AbortSignal.timeout(ANSWER), cache: "no-store" }).catch(() => null);
    this.asking = false;
    if (this.source !== source || known()) return;
    if (answers) this.heardAt = performance.now();
    this.tell(answers ? "" : OLD);
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
