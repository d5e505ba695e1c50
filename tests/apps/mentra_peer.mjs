// An app on the original's SDK: says on its standard output, one JSON object a line, what happens to it; does what it is
// told on its standard input.
import { createInterface } from "node:readline";
import { AppServer } from "@mentra/sdk";

const say = (event, fields = {}) => process.stdout.write(`@${JSON.stringify({ event, ...fields })}\n`);
const [packageName, apiKey, port] = process.argv.slice(2);
let newest = null;

class Peer extends AppServer {
  async onSession(session, sessionId) {
    newest = session;
    say("session", { sessionId });
    session.events.onTranscription((data) => say("transcription", { text: data.text, final: data.isFinal }));
    session.events.onVoiceActivity((data) => say("vad", { status: data.status }));
    session.events.onError((error) => say("error", { message: error.message }));
  }

  async onStop(sessionId, userId, reason) {
    say("stop", { reason });
  }
}

const timed = async (name, promise) => {
  const begun = Date.now();
  try {
    say("done", { name, result: await promise, ms: Date.now() - begun });
  } catch (error) {
    say("done", { name, error: String(error?.message ?? error), ms: Date.now() - begun });
  }
};

const DOES = {
  text: (session, text) => session.layouts.showTextWall(text),
  play: (session, audioUrl) => timed("play", session.audio.playAudio({ audioUrl })),
  check_stream: (session) => timed("check_stream", session.camera.checkExistingStream()),
  managed_stream: (session) => timed("managed_stream", session.camera.startManagedStream()),
  location: (session) => timed("location", session.location.getLatestLocation({ accuracy: "high" })),
};

createInterface({ input: process.stdin }).on("line", (line) => {
  const { does, argument } = JSON.parse(line);
  DOES[does](newest, argument);
});

await new Peer({ packageName, apiKey, port: Number(port) }).start();
say("ready");
