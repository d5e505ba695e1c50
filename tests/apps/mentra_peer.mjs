// An app on the original's SDK: says on its standard output, one JSON object a line, what happens to it; does what it is
// told on its standard input. Version 2 runs on Node, version 3 on Bun.
import { createInterface } from "node:readline";
import { AppServer } from "@mentra/sdk";

const say = (event, fields = {}) => process.stdout.write(`@${JSON.stringify({ event, ...fields })}\n`);
const [packageName, apiKey, port] = process.argv.slice(2);
let newest = null;
let stream = null;

class Peer extends AppServer {
  async onSession(session, sessionId) {
    newest = session;
    say("session", { sessionId, capabilities: session.capabilities, settings: session.settings.getAll() });
    session.events.onTranscription((data) => say("transcription", { text: data.text, final: data.isFinal }));
    session.events.onVoiceActivity((data) => say("vad", { status: data.status }));
    session.events.onConnected((settings) => say("connected", { settings }));
    session.events.onDisconnected((info) => say("disconnected", { info }));
    session.events.onPermissionError((error) => say("permission_error", error));
    session.events.onError((error) => say("error", { message: error.message }));
    session.events.onPermissionDenied((denied) => say("denied", denied));
    session.events.onCapabilitiesUpdate((update) => say("capabilities", update));
    session.events.onSettingsUpdate((settings) => say("settings", { settings }));
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

const hears = (session, name, how) => session.events[how]((data) => say("heard", { name, data }));
const storage = async (session, { call, args }) => (await session.simpleStorage[call](...args)) ?? null;

// Any method by its path; an argument { handler: name } says what it hears by that name.
const call = async (session, { path, args = [] }) => {
  const names = path.split(".");
  const method = names.pop();
  const owner = names.reduce((object, name) => object[name], session);
  const given = args.map((one) => (one?.handler ? (data) => say("heard", { name: one.handler, data }) : one));
  const result = await owner[method](...given);
  return result === undefined || typeof result === "function" ? null : result;
};

const DOES = {
  call: (session, what) => timed(what.path, call(session, what)),
  text: (session, text) => session.layouts.showTextWall(text),
  dashboard: (session, text) => session.dashboard.content.write(text),
  play: (session, audioUrl) => timed("play", session.audio.playAudio({ audioUrl })),
  check_stream: (session) => timed("check_stream", session.camera.checkExistingStream()),
  managed_stream: (session) => timed("managed_stream", session.camera.startManagedStream()),
  location: (session) => timed("location", session.location.getLatestLocation({ accuracy: "high" })),
  storage: (session, what) => timed(`storage ${what.call}`, storage(session, what)),
  device: (session) => say("done", { name: "device", result: session.device.state.getSnapshot() }),
  system_setting: (session, key) => say("done", { name: "system_setting", result: session.settings.getMentraOS(key) }),
  open_stream: async (session) => {
    const opening = session.audio.createOutputStream({ format: "mp3" });
    await timed("open_stream", opening.then((opened) => ((stream = opened), opened.streamUrl)));
  },
  write_stream: (_, text) => stream.write(Buffer.from(text)),
  end_stream: () => stream.end(),
  hear: (session) => {
    hears(session, "button", "onButtonPress");
    hears(session, "head", "onHeadPosition");
    session.events.onTouchEvent((data) => say("heard", { name: "touch", data }));
    session.events.onTouchEvent("double_tap", (data) => say("heard", { name: "double tap", data }));
    hears(session, "glasses battery", "onGlassesBattery");
    hears(session, "phone battery", "onPhoneBattery");
    hears(session, "location", "onLocation");
    hears(session, "calendar", "onCalendarEvent");
    hears(session, "notification", "onPhoneNotifications");
    hears(session, "dismissed", "onPhoneNotificationDismissed");
    session.onGlassesConnectionState((data) => say("heard", { name: "glasses", data }));
  },
};

createInterface({ input: process.stdin }).on("line", (line) => {
  const { does, argument } = JSON.parse(line);
  DOES[does](newest, argument);
});

const peer = new Peer({ packageName, apiKey, port: Number(port) });
await peer.start();
if (globalThis.Bun) Bun.serve({ port: Number(port), fetch: peer.fetch });
say("ready");
