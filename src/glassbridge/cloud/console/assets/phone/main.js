// The page: what a person sees and presses.

import { missing, placed } from "../captions.js";
import { browser } from "../glassbridge-phone/browser/index.js";
import { PhoneClient } from "../glassbridge-phone/index.js";
import { AppList } from "./apps.js";

const LIGHTS = {
  heard: "ok",
  connecting: "wait",
  connected: "wait",
  renewing: "bad",
  unheard: "bad",
  unreachable: "bad",
  offline: "bad",
  ended: "off",
};
const MAX_CAPTIONS = 100;
const MAX_NOTICES = 100;
const KEY = "glassbridge.core-token";
const NEWS = 5_000; // milliseconds for which "audio is back after ..." is shown
const REACHED = new Set(["heard", "connected", "unheard"]); // the cloud is there
const HEARD = "you are heard";
const MUTED = { light: "off", text: "your microphone is off" };
const EVERY = 100; // milliseconds between two looks at the meters

const $ = (id) => document.getElementById(id);
const catalogue = new AppList($("catalogue"), (name, on) => state.phone?.[on ? "startApp" : "stopApp"](name));
const state = { phone: null, begun: 0, level: 0, sounds: new Map(), told: {}, socket: {}, room: {}, audio: {}, captions: [] };

// `#token=` is how `glassbridge dev` hands one over: a fragment never leaves the browser.
function adoptToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  $("token").value = sessionStorage.getItem(KEY) ?? "";
  $("transport").value = new URLSearchParams(location.search).get("transport") ?? "data";
}

async function start(event) {
  event.preventDefault();
  const token = $("token").value.trim();
  $("start").disabled = true;
  $("refused").hidden = true;
  const phone = new PhoneClient({
    cloud: location.origin,
    token,
    transport: $("transport").value,
    livekit: globalThis.LivekitClient,
    model: "glassbridge browser phone",
    onEvent: (event) => HEARERS[event.type]?.(event),
    ...(await browser()),
  });
  state.phone = phone;
  state.captions = [];
  state.told = {};
  for (const list of ["captions", "apps", "notices", "facts"]) $(list).replaceChildren();
  catalogue.clear();
  try {
    await phone.start();
  } catch (error) {
    $("refused").textContent = error.message;
    $("refused").hidden = false;
    await phone.close();
    state.phone = null;
    return;
  } finally {
    $("start").disabled = false;
  }
  sessionStorage.setItem(KEY, token);
  state.begun = performance.now();
  $("microphone").disabled = false;
  showMicrophone(true);
  $("sign-in").hidden = true;
  $("call").hidden = false;
  $("microphone").focus();
  state.looking = setInterval(look, EVERY);
  stayAwake();
}

// A telephone that goes to sleep hears nothing. Browsers forget the wish whenever the page is not seen.
async function stayAwake() {
  if (state.phone && document.visibilityState === "visible") {
    state.awake = await navigator.wakeLock?.request("screen").catch(() => null);
  }
}

async function hangUp() {
  const { phone } = state;
  if (!phone) return;
  state.phone = null;
  clearInterval(state.looking);
  state.awake?.release();
  await phone.close();
  clearTimeout(state.fading);
  for (const track of [...state.sounds.keys()]) play({ track, on: false });
  $("sign-in").hidden = false;
  $("call").hidden = true;
  $("start").focus();
}

function toggleMicrophone() {
  if (!state.phone || $("microphone").disabled) return;
  const on = !state.phone.microphoneOn;
  state.phone.switchMicrophone(on);
  showMicrophone(on);
}

// What is true now, for a person: a microphone that is off is no fault, and news are news for a while only.
function showTruth() {
  const { situation, text } = state.told;
  const muted = state.phone && !state.phone.microphoneOn && REACHED.has(situation);
  const shown = muted ? MUTED : { light: LIGHTS[situation], text };
  $("light").dataset.light = $("light").parentElement.dataset.light = shown.light;
  setText($("truth"), shown.text);
}

function forgetNews() {
  state.told.text = HEARD;
  showTruth();
}

function showMicrophone(on) {
  $("microphone").setAttribute("aria-pressed", String(on));
  $("microphone-label").textContent = on ? "Microphone is on" : "Microphone is off";
  if (state.told.situation) showTruth();
}

// ---- what the phone tells

const HEARERS = {
  told({ situation, text }) {
    state.told = { situation, text };
    clearTimeout(state.fading);
    if (situation === "heard" && text !== HEARD) state.fading = setTimeout(forgetNews, NEWS);
    showTruth();
    note(text);
    if (situation !== "ended") return;
    $("microphone").disabled = true;
    state.phone?.close();
  },
  caption({ type: _, text, final, ...row }) {
    if (!row.inserts) $("interim").textContent = final ? "" : text;
    if (final && text) showCaption({ text, ...row });
  },
  gap: ({ type: _, ...row }) => showCaption(row),
  shown({ name, text }) {
    const list = $("apps");
    const item =
      [...list.children].find((found) => found.dataset.name === name) ?? list.appendChild(document.createElement("li"));
    item.dataset.name = name;
    item.textContent = text;
    if (!text) item.remove();
  },
  app(told) {
    const { name, state, error } = told;
    catalogue.show(told);
    if (state === "stopped") HEARERS.shown({ name, text: "" });
    note(`${name}: ${state}${error ? ` (${error})` : ""}`);
  },
  audio: (notice) => (state.audio = notice),
  room: (room) => (state.room = room),
  socket(socket) {
    state.socket = socket;
    if (socket.here) catalogue.load(() => state.phone.listApps()).catch((error) => note(error.message));
  },
  microphone: ({ allowed }) => note(`the cloud has switched the microphone ${allowed ? "on" : "off"}`),
  error: ({ text }) => note(`the cloud complains: ${text}`),
  sound: (change) => play(change),
  level: ({ samples }) => (state.level = Math.max(state.level, loudness(samples))),
};

function play({ track, on }) {
  const known = state.sounds.get(track);
  if (!on) {
    track.detach().forEach((element) => element.remove());
    known?.context.close();
    state.sounds.delete(track);
    return;
  }
  document.body.appendChild(track.attach()).hidden = true;
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 1024;
  context.createMediaStreamSource(new MediaStream([track.mediaStreamTrack])).connect(analyser);
  state.sounds.set(track, { context, analyser, samples: new Float32Array(analyser.fftSize) });
}

// ---- what is looked at some times a second

function look() {
  meter($("level"), state.level);
  state.level = 0;
  let played = 0;
  for (const { analyser, samples } of state.sounds.values()) {
    analyser.getFloatTimeDomainData(samples);
    played = Math.max(played, loudness(samples, 1));
  }
  meter($("playback"), played);
  const seconds = Math.floor((performance.now() - state.begun) / 1000);
  setText($("elapsed"), `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`);
  if ($("facts").parentElement.open) showFacts();
}

function showFacts() {
  const { sender } = state.phone;
  const facts = {
    session: state.socket.sessionId ?? "none",
    audio: [state.audio.state, state.audio.hop, state.audio.code].filter(Boolean).join(" · ") || "unknown",
    path: sender.path ?? "none",
    room: state.room.joined ? (state.room.agent ? "joined, the cloud is there" : "joined, alone") : "not joined",
    frames:
      Object.entries(sender.sent)
        .filter(([, n]) => n)
        .map(([path, n]) => `${n} by ${path}`)
        .join(", ") || "none",
    "sent again": String(sender.replayed),
    "not taken": String(sender.unsent),
  };
  const list = $("facts");
  if (!list.children.length) {
    for (const name of Object.keys(facts)) {
      list.appendChild(document.createElement("dt")).textContent = name;
      list.appendChild(document.createElement("dd"));
    }
  }
  Object.values(facts).forEach((value, i) => setText(list.children[2 * i + 1], value));
}

const setText = (element, text) => element.textContent === text || (element.textContent = text);

function meter(element, level) {
  element.style.setProperty("--level", level.toFixed(3));
  element.setAttribute("aria-valuenow", level.toFixed(2));
}

// 0 to 1 over 60 dB, as ears hear it.
function loudness(samples, full = 32768) {
  let sum = 0;
  for (const sample of samples) sum += (sample / full) ** 2;
  const db = 10 * Math.log10(sum / samples.length + 1e-12);
  return Math.max(0, Math.min(1, (db + 60) / 60));
}

function note(text) {
  const item = document.createElement("li");
  const time = item.appendChild(document.createElement("time"));
  time.textContent = $("elapsed").textContent || "0:00";
  item.append(text);
  add($("notices"), MAX_NOTICES, item);
}

function showCaption(row) {
  state.captions = placed(state.captions, row).slice(-MAX_CAPTIONS);
  const item = (one) =>
    Object.assign(document.createElement("li"), {
      className: one.gap === undefined ? "" : `gap ${one.state}`,
      textContent: one.gap === undefined ? one.text : missing(one),
    });
  if (state.captions.at(-1) === row) add($("captions"), MAX_CAPTIONS, item(row));
  else $("captions").replaceChildren(...state.captions.map(item));
}

function add(list, most, what) {
  const item = typeof what === "string" ? Object.assign(document.createElement("li"), { textContent: what }) : what;
  list.appendChild(item);
  while (list.children.length > most) list.firstElementChild.remove();
  list.scrollTop = list.scrollHeight;
}

addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, select, textarea");
  if (event.key.toLowerCase() === "m" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey)
    toggleMicrophone();
});
addEventListener("visibilitychange", stayAwake);
addEventListener("pagehide", () => state.phone?.close());
$("sign-in").addEventListener("submit", start);
$("microphone").addEventListener("click", toggleMicrophone);
$("end").addEventListener("click", hangUp);
adoptToken();
