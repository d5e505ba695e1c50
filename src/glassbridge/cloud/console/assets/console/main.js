// The page: signing in, the stream, what is chosen, keys.

import { Feed, signIn, signOut } from "./api.js";
import { Faults } from "./faults.js";
import { SessionList } from "./list.js";
import { Overview } from "./overview.js";
import { SessionView } from "./session.js";
import { captionsLoad } from "./words.js";

const SETTLE = 120; // milliseconds that a choice must last before its stream is opened
const THEME = "glassbridge.theme";
const PREFERS_DARK = matchMedia("(prefers-color-scheme: dark)");

const $ = (id) => document.getElementById(id);
const state = { chosen: null, now: 0, parts: null };

const list = new SessionList(
  { list: $("list"), search: $("search"), filters: $("filters"), nothing: $("nothing") },
  choose,
);
const view = new SessionView($("session"), () => choose(null));
const overview = new Overview($("tiles"));
const faults = new Faults({
  panel: $("development"),
  faults: $("faults"),
  trouble: $("trouble"),
  phone: $("open-phone"),
});
const feed = new Feed({
  message: take,
  state: tell,
  refused: (message) => showSignIn(message),
  again: () => feed.watch(state.chosen),
});

function take(message) {
  state.now = message.now_ms;
  list.take(message);
  state.parts = message.overview ?? state.parts;
  if (state.parts) showParts(state.parts);
  if (message.full) follow();
  view.take(message.watched, message.now_ms);
  faults.show(message.development);
  if (!document.body.dataset.ready) showConsole();
}

function showParts(parts) {
  overview.show(parts, [...list.rows.values()]);
  const silent = parts.nodes.filter(({ answered }) => !answered).map(({ node }) => node);
  $("silent").hidden = !silent.length;
  $("silent").textContent = silent.length ? `No answer from ${silent.join(", ")}: sessions there are missing here.` : "";
  $("captions").textContent = captionsLoad(parts.recogniser);
  $("captions").hidden = !$("captions").textContent;
}

// The cloud has forgotten the session that is looked at: its user may have a new one.
function follow() {
  const row = list.rows.get(state.chosen);
  if (row) state.user = row.user;
  if (row || !state.chosen) return;
  const next = [...list.rows.values()].find(({ user, ended_ms }) => user === state.user && ended_ms === null);
  if (next) choose(next.id);
  else view.forgotten();
}

function tell(trouble) {
  $("feed").textContent = trouble;
  $("feed").hidden = !trouble;
  $("console").classList.toggle("old", Boolean(trouble));
}

// ---- what is chosen is in the address, so that it can be sent to somebody

function choose(id) {
  const wanted = id ? `#/session/${encodeURIComponent(id)}` : "#/";
  if (location.hash !== wanted) history.replaceState(null, "", wanted);
  show(id);
}

function show(id) {
  if (id === state.chosen) return;
  state.chosen = id;
  state.user = list.rows.get(id)?.user ?? null;
  view.open(id, list.rows.get(id));
  list.mark(id);
  $("overview").hidden = id !== null;
  document.body.dataset.view = id === null ? "list" : "session";
  clearTimeout(state.settling);
  state.settling = setTimeout(() => feed.watch(id), SETTLE);
}

function fromAddress() {
  const [, id] = location.hash.match(/^#\/session\/(.+)$/) ?? [];
  show(id ? decodeURIComponent(id) : null);
}

// ---- signing in

function showSignIn(message = "") {
  feed.close();
  delete document.body.dataset.ready;
  tell("");
  faults.show(false);
  $("console").hidden = $("sign-out").hidden = true;
  $("sign-in").hidden = false;
  $("refused").textContent = message;
  $("refused").hidden = !message;
  $("token").focus();
}

function showConsole() {
  document.body.dataset.ready = "yes";
  $("sign-in").hidden = true;
  $("console").hidden = $("sign-out").hidden = false;
  list.render();
  requestAnimationFrame(() => performance.mark("sessions"));
}

async function enter(token) {
  try {
    await signIn(token);
  } catch (error) {
    showSignIn(error.status === 401 ? "That is not the admin token." : error.message);
    return;
  }
  $("token").value = "";
  feed.watch(state.chosen);
}

// `#token=` is how `glassbridge dev` hands one over: a fragment never leaves the browser.
function begin() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) history.replaceState(null, "", location.pathname);
  fromAddress();
  clearTimeout(state.settling);
  if (token) enter(token);
  else feed.watch(state.chosen);
}

// ---- colours, keys

function toggleTheme() {
  const now = document.documentElement.dataset.theme ?? (PREFERS_DARK.matches ? "dark" : "light");
  const other = now === "dark" ? "light" : "dark";
  localStorage.setItem(THEME, other);
  document.documentElement.dataset.theme = other;
  view.recolour();
}

const KEYS = {
  "/": () => $("search").focus(),
  t: toggleTheme,
  Escape: () => choose(null),
  ArrowDown: () => $("list").focus(),
  ArrowUp: () => $("list").focus(),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("console").hidden) return;
  if (event.target.closest("input")) {
    if (event.key === "Escape" || event.key === "ArrowDown") $("list").focus();
    return;
  }
  const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act || (event.key.startsWith("Arrow") && event.target !== document.body)) return;
  event.preventDefault();
  act();
}

view.recolour();
PREFERS_DARK.addEventListener("change", () => view.recolour());
addEventListener("hashchange", fromAddress);
addEventListener("keydown", onKey);
$("theme").addEventListener("click", toggleTheme);
$("sign-out").addEventListener("click", async () => {
  await signOut();
  showSignIn();
});
$("sign-in")
  .querySelector("form")
  .addEventListener("submit", (event) => {
    event.preventDefault();
    enter($("token").value.trim());
  });
begin();
