// The list of sessions. Only the rows that can be seen exist; a row that changes is patched.

import { LIGHTS, ago, make, sentence, setText } from "./words.js";

const ROW = 60; // pixels, as in console.css
const BEYOND = 6; // rows above and below what can be seen
const ORDER = Object.keys(LIGHTS);

export class SessionList {
  // `choose(id)` is called when a person chooses a session.
  constructor({ list, search, filters, nothing }, choose) {
    Object.assign(this, { list, search, filters, nothing, choose });
    this.rows = new Map();
    this.shown = [];
    this.chosen = null;
    this.light = null;
    this.query = "";
    this.now = 0;
    this.elements = [];
    this.space = this.list.appendChild(make("div", { class: "space", role: "presentation" }));
    this.buttons = [null, ...ORDER].map((light) => this.filterButton(light));
    this.list.addEventListener("scroll", () => this.render(), { passive: true });
    this.list.addEventListener("keydown", (event) => this.onKey(event));
    this.list.addEventListener("click", ({ target }) => {
      const row = target.closest("[data-id]");
      if (row) this.choose(row.dataset.id);
    });
    this.search.addEventListener("input", () => {
      this.query = this.search.value.trim().toLowerCase();
      this.arrange();
    });
    new ResizeObserver(() => this.render()).observe(this.list);
  }

  filterButton(light) {
    const button = make("button", { type: "button", class: "chip", "aria-pressed": String(light === null) });
    if (light) button.append(make("span", { class: "light", "data-light": light, "aria-hidden": "true" }));
    button.append(make("span", { text: light ? LIGHTS[light] : "All" }), make("span", { class: "number" }));
    button.addEventListener("click", () => {
      this.light = this.light === light ? null : light;
      this.buttons.forEach(({ button, light }) => button.setAttribute("aria-pressed", String(light === this.light)));
      this.list.scrollTop = 0;
      this.arrange();
    });
    this.filters.append(button);
    return { button, light, count: button.lastChild };
  }

  // A message of the stream.
  take({ full, now_ms, sessions, gone }) {
    this.now = now_ms;
    if (!full && !sessions.length && !gone.length) return;
    if (full) this.rows.clear();
    for (const row of sessions) this.rows.set(row.id, row);
    for (const id of gone) this.rows.delete(id);
    this.arrange();
  }

  mark(id) {
    this.chosen = id;
    const at = this.shown.findIndex((row) => row.id === id);
    if (at >= 0) this.reveal(at);
    this.render();
  }

  // Which rows there are to see, in which order: what needs a person first.
  arrange() {
    const found = [...this.rows.values()].filter((row) => matches(row, this.query));
    const counts = Object.fromEntries(ORDER.map((light) => [light, 0]));
    for (const row of found) counts[row.light] += 1;
    for (const { light, count, button } of this.buttons) {
      const number = light ? counts[light] : found.length;
      setText(count, String(number));
      button.classList.toggle("none", light !== null && number === 0);
    }
    this.shown = found
      .filter((row) => this.light === null || row.light === this.light)
      .sort((a, b) => rank(a) - rank(b) || b.started_ms - a.started_ms || (a.id < b.id ? -1 : 1));
    this.nothing.hidden = this.shown.length > 0;
    if (!this.shown.length) {
      setText(this.nothing.querySelector("p"), this.rows.size ? "No session matches." : "No phone has connected yet.");
      this.nothing.querySelector("a").hidden = this.rows.size > 0;
    }
    this.render();
  }

  render() {
    const height = `${this.shown.length * ROW}px`;
    if (this.space.style.height !== height) this.space.style.height = height;
    const first = Math.max(0, Math.floor(this.list.scrollTop / ROW) - BEYOND);
    const count = Math.ceil(this.list.clientHeight / ROW) + 2 * BEYOND;
    const visible = this.shown.slice(first, first + count);
    while (this.elements.length < visible.length) this.elements.push(this.row());
    while (this.elements.length > visible.length) this.elements.pop().element.remove();
    visible.forEach((row, i) => this.patch(this.elements[i], row, first + i));
    const active = this.elements.find(({ element }) => element.dataset.id === this.chosen)?.element.id;
    if (active) this.list.setAttribute("aria-activedescendant", active);
    else this.list.removeAttribute("aria-activedescendant");
  }

  row() {
    const light = make("span", { class: "light", role: "img" });
    const user = make("span", { class: "user" });
    const state = make("span", { class: "state soft" });
    const time = make("span", { class: "time number soft" });
    const gaps = make("span", { class: "gaps number" });
    const element = make("div", { class: "row", role: "option" }, light, user, time, state, gaps);
    this.space.append(element);
    return { element, light, user, state, time, gaps };
  }

  patch({ element, light, user, state, time, gaps }, row, index) {
    const top = `translateY(${index * ROW}px)`;
    if (element.style.transform !== top) element.style.transform = top;
    if (element.dataset.id !== row.id) {
      element.dataset.id = row.id;
      element.id = `row-${row.id}`;
    }
    attribute(element, "aria-selected", String(row.id === this.chosen));
    attribute(element, "aria-posinset", String(index + 1));
    attribute(element, "aria-setsize", String(this.shown.length));
    attribute(element, "data-light", row.light);
    attribute(light, "data-light", row.light);
    attribute(light, "aria-label", LIGHTS[row.light]);
    setText(user, row.user);
    setText(state, sentence(row));
    setText(time, ago(this.now - (row.ended_ms ?? row.since_ms)));
    setText(gaps, row.gaps ? `${row.gaps} ${row.gaps === 1 ? "gap" : "gaps"}` : "");
  }

  reveal(at) {
    const top = at * ROW;
    if (top < this.list.scrollTop) this.list.scrollTop = top;
    else if (top + ROW > this.list.scrollTop + this.list.clientHeight) {
      this.list.scrollTop = top + ROW - this.list.clientHeight;
    }
  }

  onKey(event) {
    const page = Math.max(1, Math.floor(this.list.clientHeight / ROW) - 1);
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined || !this.shown.length) return;
    event.preventDefault();
    const at = this.shown.findIndex((row) => row.id === this.chosen);
    const next = Math.max(0, Math.min(this.shown.length - 1, at < 0 ? 0 : at + by));
    this.choose(this.shown[next].id);
  }
}

const rank = (row) => (row.ended_ms === null ? ORDER.indexOf(row.light) : ORDER.length);

const matches = (row, query) =>
  !query ||
  [row.user, row.id, sentence(row), row.code, row.hop ?? "", ...Object.keys(row.apps)].some((text) =>
    text.toLowerCase().includes(query),
  );

const attribute = (element, name, value) => {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
};
