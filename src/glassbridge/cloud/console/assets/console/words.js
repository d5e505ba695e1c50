// How things are called, for people.

export const LIGHTS = {
  bad: "Dead audio",
  part: "Degraded",
  wait: "Connecting",
  ok: "Live",
  off: "Away",
};

const STATES = {
  live: "Receiving audio",
  connecting: "Connecting",
  interrupted: "Audio interrupted",
  unavailable: "No audio",
  away: "The phone is away",
  ended: "Ended",
};

export const HOPS = {
  phone: "Phone",
  livekit: "LiveKit",
  bridge: "Bridge",
  stream: "Stream from the bridge",
  recogniser: "Recogniser",
};

// What was done, and what came of it where that is not what one would expect.
const ACTIONS = {
  join: "fresh join",
  rejoin: "fresh join",
  rejoin_later: "fresh join later",
  leave: "left",
  examine: "all hops queried",
  ask_phone: "phone asked to rejoin",
  ask_status: "bridge asked",
  restart_recogniser: "recogniser restarted",
  wait: "waited",
};
const EXPECTED = new Set(["joined", "examined", "in_room", "left", "answers", "recognises"]);
const HEALED = {
  "by itself": "healed by itself",
  ended: "until the session ended",
  "phone:back": "healed when the phone came back",
  "phone:in_room": "healed when the phone was in its room again",
};

const ENDINGS = {
  "by itself": "back by itself",
  ended: "session ended",
  "phone:back": "phone is back",
  "phone:in_room": "phone rejoined",
  "restart_recogniser:recognises": "restarted",
};

const said = (word) => word.replaceAll("_", " ");

export const sentence = (row) => row.text || STATES[row.state] || said(row.state);

export function action(text) {
  const [name, result] = text.split(":");
  const done = ACTIONS[name] ?? said(name);
  return !result || EXPECTED.has(result) ? done : `${done} (${said(result)})`;
}

// Each once, with how often it came in a row.
export function actions(texts) {
  const runs = [];
  for (const text of texts.map(action)) {
    if (runs.at(-1)?.text === text) runs.at(-1).times += 1;
    else runs.push({ text, times: 1 });
  }
  return runs.map(({ text, times }) => (times > 1 ? `${text} × ${times}` : text)).join(", ");
}

// How a gap ended. `then CODE`: it did not heal, but was found to be another one.
export function outcome({ to_ms, healed_by }) {
  if (to_ms === null) return "still dead";
  const how = healed_by ?? "by itself";
  return HEALED[how] ?? (how.startsWith("then ") ? said(how) : `healed by ${action(how)}`);
}

// The end of a gap in two words, for its label.
export function ending({ to_ms, healed_by }) {
  if (to_ms === null) return "still gone";
  if (/^(re)?join:/.test(healed_by ?? "")) return "rejoined";
  return ENDINGS[healed_by ?? "by itself"] ?? "back";
}

// What a gap meant for the audio.
export const consequences = (gap) =>
  [
    outcome(gap),
    gap.silent_ms > 0 ? `nothing was heard for ${seconds(gap.silent_ms)}` : "no sound was missed",
    gap.around === "websocket" ? "audio went around it by the WebSocket" : "",
  ].filter(Boolean);

export const blamed = (gap) => `${HOPS[gap.hop] ? `${HOPS[gap.hop]}: ` : ""}${gap.text || gap.code}`;

const people = (count, one, many) => (count === 1 ? `1 person ${one}` : `${count} people ${many}`);

// Who has no captions, or late ones, because too many people speak at once; empty when nobody.
export function captionsLoad({ crowded_out, slow, fits }) {
  const parts = [];
  if (crowded_out) parts.push(`${people(crowded_out, "has", "have")} no captions: too many people speak at once`);
  if (slow) parts.push(`${people(slow, "gets", "get")} captions late or seldom`);
  if (!parts.length) return "";
  return `${parts.join("; ")}. Room for ${fits === 1 ? "1 more speaker" : `${fits} more speakers`}.`;
}

export function seconds(ms) {
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 60_000) return `${Math.round(ms / 1000)} s`;
  return ago(ms);
}

export function ago(ms) {
  const total = Math.max(0, Math.round(ms / 1000));
  if (total < 60) return `${total} s`;
  if (total < 3600) return `${Math.floor(total / 60)} min`;
  const hours = Math.floor(total / 3600);
  return hours < 48 ? `${hours} h ${Math.floor((total % 3600) / 60)} min` : `${Math.floor(hours / 24)} days`;
}

export const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour12: false });

export const setText = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

// make("p", {class: "soft", text: "..."}, child, ...)
export function make(tag, { text, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
}
