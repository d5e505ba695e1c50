// The system as a whole, before anybody chooses a session: its parts, those in trouble first, and what is left.

import { LIGHTS, make } from "./words.js";

const ORDER = Object.keys(LIGHTS);
const LITTLE = 0.1; // of a capacity, from which on it is told as trouble
const LEFT = { sessions: "sessions", speakers: "speakers", loop: "processor time of the cloud" };

export class Overview {
  constructor(element) {
    this.element = element;
    this.drawn = "";
  }

  // `parts` as the cloud tells them, and the rows of the list.
  show(parts, rows) {
    const found = tiles(parts, rows);
    const now = JSON.stringify(found);
    if (now === this.drawn) return;
    this.drawn = now;
    this.element.replaceChildren(...found.map(tile));
  }
}

function tile({ title, light, text, more }) {
  return make(
    "li",
    { class: "tile panel", "data-light": light },
    make("span", { class: "light", "data-light": light, "aria-hidden": "true" }),
    make("h3", { text: title }),
    make("p", { text }),
    ...(more.length ? [make("ul", { class: "soft small" }, ...more.map((line) => make("li", { text: line })))] : []),
  );
}

function tiles({ bridges, livekit, recogniser, nodes, capacity_left }, rows) {
  const found = [sessionsTile(rows), bridgesTile(bridges), liveKitTile(livekit), recogniserTile(recogniser)];
  if (nodes.length) found.push(cloudsTile(nodes));
  found.push(capacityTile(capacity_left));
  return found.sort((a, b) => ORDER.indexOf(a.light) - ORDER.indexOf(b.light));
}

function sessionsTile(rows) {
  const living = rows.filter(({ ended_ms }) => ended_ms === null);
  const counts = ORDER.map((light) => [light, living.filter((row) => row.light === light).length]).filter(([, n]) => n);
  if (!counts.length) return { title: "Sessions", light: "off", text: "No phone is connected", more: [] };
  const text = counts.map(([light, count]) => `${count} ${LIGHTS[light].toLowerCase()}`).join(", ");
  return { title: "Sessions", light: counts[0][0], text, more: [] };
}

function bridgesTile(bridges) {
  const alive = bridges.filter(({ answers }) => answers).length;
  const light = alive === 0 ? "bad" : alive < bridges.length ? "part" : "ok";
  const text = bridges.length ? `${alive} of ${bridges.length} answer` : "None is known: start one (glassbridge bridge)";
  const more = bridges
    .toSorted((a, b) => a.answers - b.answers)
    .map(({ name, answers, places }) => {
      const short = name.replace(/^unix:.*\//, "");
      return answers ? `${short}: ${count(places, "room", "rooms")}` : `${short}: no answer; see that it runs`;
    });
  return { title: "Bridges", light, text, more };
}

function liveKitTile({ answers, why }) {
  if (answers === null) return { title: "LiveKit", light: "wait", text: "Being asked", more: [] };
  if (answers) return { title: "LiveKit", light: "ok", text: "Answers", more: [] };
  return { title: "LiveKit", light: "bad", text: "Does not answer", more: [why, "glassbridge doctor finds the cause"] };
}

function recogniserTile({ name, streams, crowded_out, slow, fits }) {
  const trouble = [crowded_out ? `${crowded_out} without captions` : "", slow ? `${slow} with late ones` : ""];
  const text = trouble.filter(Boolean).join(", ");
  return {
    title: "Recogniser",
    light: text ? "part" : "ok",
    text: text || `${count(streams, "stream", "streams")} open`,
    more: [`room for ${count(fits, "more speaker", "more speakers")}`, name],
  };
}

function cloudsTile(nodes) {
  const answered = nodes.filter((node) => node.answered).length;
  const more = nodes
    .toSorted((a, b) => a.answered - b.answered)
    .map(({ node, answered, sessions }) =>
      answered ? `${node}: ${count(sessions, "session", "sessions")}` : `${node}: no answer; its sessions are missing`,
    );
  const text = `${answered} of ${nodes.length} answer`;
  return { title: "Clouds", light: answered < nodes.length ? "bad" : "ok", text, more };
}

function capacityTile(left) {
  const least = Math.min(...Object.values(left));
  return {
    title: "Capacity left",
    light: least <= LITTLE ? "part" : "ok",
    text: `${Math.round(100 * least)} %`,
    more: Object.entries(LEFT).map(([name, title]) => `${Math.round(100 * left[name])} % of ${title}`),
  };
}

const count = (number, one, many) => `${number} ${number === 1 ? one : many}`;
