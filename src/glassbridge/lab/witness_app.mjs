// An app on the original's SDK that says on its standard output, one JSON object a line, what happens to it.
// Version 2 runs on Node, version 3 on Bun.
import { AppServer } from "@mentra/sdk";

const say = (fields) => process.stdout.write(`${JSON.stringify(fields)}\n`);
const [packageName, apiKey, port] = process.argv.slice(2);
let sessions = 0;

class Witness extends AppServer {
  async onSession(session, _id, user) {
    const number = ++sessions;
    say({ event: "begun", user, session: number });
    session.events.onTranscription(({ text, isFinal }) => isFinal && say({ event: "heard", user, session: number, text }));
  }

  async onStop(_id, user, reason) {
    say({ event: "stopped", user, reason });
  }
}

const witness = new Witness({ packageName, apiKey, port: Number(port) });
await witness.start();
if (globalThis.Bun) Bun.serve({ port: Number(port), fetch: witness.fetch });
say({ event: "ready" });
