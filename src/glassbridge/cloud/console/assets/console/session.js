// One session: what is true of it, its lanes, its gaps, its sound, its captions, its events.

import { missing } from "../captions.js";
import { LANES, Lanes, SPANS, keyOf } from "./lanes.js";
import { copy, story } from "./story.js";
import { Timeline } from "./timeline.js";
import { HOPS, LIGHTS, actions, ago, clock, consequences, make, seconds, sentence, setText } from "./words.js";

const QUIET = -60; // dBFS: the left end of the meter
const WAVE = 20_000; // milliseconds of sound that are drawn
const MAX_SHOWN = 60; // gaps, events, captions
const CALM = matchMedia("(prefers-reduced-motion: reduce)");

export class SessionView {
  // `back()` is called when a person leaves it on a small screen.
  constructor(element, back) {
    this.element = element;
    this.timeline = new Timeline();
    this.lanes = new Lanes(this.timeline, (key) => this.point(key));
    this.build(back);
  }

  build(back) {
    const leave = make("button", {
      type: "button",
      class: "quiet icon back",
      "aria-label": "Back to the list",
      text: "←",
    });
    leave.addEventListener("click", back);
    this.light = make("span", { class: "light", role: "img", "data-light": "off" });
    this.user = make("h2");
    this.truth = make("span", { role: "status" });
    this.since = make("span");
    this.facts = make("dl", { class: "facts" });
    this.wave = make("canvas", { class: "wave", "aria-hidden": "true" });
    this.meter = make("div", {
      class: "meter",
      role: "meter",
      "aria-label": "Loudness",
      "aria-valuemin": "-60",
      "aria-valuemax": "0",
      "aria-valuenow": "-60",
    });
    this.loud = make("span", { class: "number soft" });
    this.captions = make("ol", { class: "captions", tabindex: "0", "aria-label": "Captions", "aria-live": "polite" });
    this.interim = make("p", { class: "interim soft" });
    this.gaps = make("ol", { class: "gap-list" });
    this.download = make("a", { class: "button slim", download: "", text: "Download the recorder" });
    this.copied = make("p", { class: "soft small", role: "status" });
    this.events = make("ol", { class: "events" });
    const spans = make("div", { class: "filters", role: "group", "aria-label": "How far back" }, ...this.spanButtons());
    this.element.append(
      make(
        "header",
        {},
        leave,
        this.light,
        make("div", {}, this.user, make("p", { class: "truth" }, this.truth, this.since)),
      ),
      this.facts,
      make(
        "section",
        { class: "panel path", "aria-label": "Hop by hop" },
        make("div", { class: "head" }, make("h2", { text: "Hop by hop" }), spans),
        this.lanes.element,
      ),
      make(
        "div",
        { class: "halves" },
        panel("Captions", this.captions, this.interim),
        panel("Sound", this.wave, make("div", { class: "loud" }, this.meter, this.loud)),
      ),
      make(
        "section",
        { class: "panel", "aria-label": "Faults" },
        make("div", { class: "head" }, make("h2", { text: "What was dead, and what healed it" }), this.download),
        this.copied,
        this.gaps,
      ),
      make("details", { class: "panel" }, make("summary", { text: "Events" }), this.events),
    );
    this.events.parentElement.addEventListener("toggle", () => this.showEvents());
  }

  spanButtons() {
    const buttons = SPANS.map(({ seconds, title }) => {
      const button = make("button", {
        type: "button",
        class: "chip",
        text: title,
        "aria-pressed": String(seconds === this.lanes.span),
      });
      button.addEventListener("click", () => {
        this.lanes.span = seconds;
        buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
        this.lanes.draw();
      });
      return button;
    });
    return buttons;
  }

  // Another session, or none; `row` of the list, as far as it is known.
  open(id, row) {
    this.id = id;
    this.timeline.forget();
    this.element.hidden = id === null;
    this.element.scrollTop = 0;
    for (const list of [this.captions, this.gaps, this.events, this.facts]) list.replaceChildren();
    this.drawn = {};
    this.download.href = `/api/admin/sessions/${encodeURIComponent(id ?? "")}/recorder`;
    for (const text of [this.copied, this.interim, this.loud, this.user, this.truth, this.since]) setText(text, "");
    if (row) this.head(row, row.since_ms);
  }

  // `watched` of a message, and the row of the list, which may be newer.
  take(watched, now) {
    if (watched === null || watched.session.id !== this.id) return;
    this.timeline.take(watched);
    this.head(this.timeline.session, now);
    this.lanes.draw();
    this.showGaps();
    this.showCaptions();
    this.showSound(now);
    this.showEvents();
  }

  forgotten() {
    this.light.dataset.light = this.element.dataset.light = "off";
    if (!this.user.textContent) setText(this.user, this.id);
    setText(this.truth, "The cloud does not know this session any more: it ended long ago, or the cloud was restarted");
  }

  head(row, now) {
    this.light.dataset.light = row.light;
    this.light.setAttribute("aria-label", LIGHTS[row.light]);
    this.element.dataset.light = row.light;
    setText(this.user, row.user);
    const where = row.hop && row.text ? ` · dead hop: ${HOPS[row.hop] ?? row.hop}` : "";
    setText(this.truth, `${sentence(row)}${where}`);
    setText(this.since, ` · for ${ago(now - row.since_ms)}`);
    const way = { livekit: "through LiveKit", websocket: "by the WebSocket" }[row.transport] ?? "none";
    const apps = Object.entries(row.apps).map(([name, state]) => (state === "running" ? name : `${name} (${state})`));
    const facts = {
      Session: row.id,
      Audio: row.state === "live" ? `${way}${row.numbered ? ", numbered" : ""}` : way,
      Link: row.link.replaceAll("_", " "),
      Bridge: row.bridge ? row.bridge.replace(/^unix:.*\//, "") : "none",
      Apps: apps.join(", ") || "none",
      Since: clock(row.started_ms),
    };
    if (!this.facts.children.length) {
      for (const name of Object.keys(facts))
        this.facts.append(make("div", {}, make("dt", { text: name }), make("dd", { class: "number" })));
    }
    Object.values(facts).forEach((value, i) => setText(this.facts.children[i].lastChild, value));
  }

  showGaps() {
    const gaps = this.timeline.gaps.slice(-MAX_SHOWN).reverse();
    const now = JSON.stringify(gaps);
    if (now === this.drawn.gaps) return;
    this.drawn.gaps = now;
    this.gaps.replaceChildren(
      ...(gaps.length ? gaps.map((gap) => gapItem(gap, () => this.copy(gap))) : [make("li", { class: "soft", text: "Nothing was dead." })]),
    );
  }

  showCaptions() {
    const { captions, interim, revised } = this.timeline;
    if (revised !== this.drawn.revised) {
      this.drawn.revised = revised;
      this.drawn.caption = null;
      this.captions.replaceChildren();
    }
    const fresh = captions.slice(captions.indexOf(this.drawn.caption) + 1);
    if (fresh.length) {
      this.drawn.caption = fresh.at(-1);
      this.captions.append(
        ...fresh.map((row) =>
          make(
            "li",
            row.gap ? { class: `gap ${row.state}`, "data-gap": row.gap } : {},
            make("time", { class: "number soft", text: clock(row.at) }),
            row.gap ? missing(row) : row.text,
          ),
        ),
      );
      while (this.captions.children.length > MAX_SHOWN) this.captions.firstChild.remove();
      this.captions.scrollTop = this.captions.scrollHeight;
    }
    setText(this.interim, interim);
  }

  showSound(now) {
    const { levels } = this.timeline;
    const newest = levels.at(-1);
    const fresh = newest && now - newest.at < 1_000 && newest.value !== null ? newest.value : null;
    const level = fresh === null ? 0 : Math.max(0, Math.min(1, (fresh - QUIET) / -QUIET));
    this.meter.style.setProperty("--level", level.toFixed(3));
    this.meter.setAttribute("aria-valuenow", String(fresh ?? QUIET));
    setText(this.loud, fresh === null ? "no sound" : `${fresh} dBFS`);
    this.drawWave(levels, now);
  }

  drawWave(levels, now) {
    const { wave } = this;
    const width = wave.clientWidth;
    const height = wave.clientHeight;
    const sharp = devicePixelRatio || 1;
    if (wave.width !== Math.round(width * sharp)) wave.width = Math.round(width * sharp);
    if (wave.height !== Math.round(height * sharp)) wave.height = Math.round(height * sharp);
    const pen = wave.getContext("2d");
    pen.setTransform(sharp, 0, 0, sharp, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = this.lanes.colours.bar;
    const step = (width * 100) / WAVE;
    for (const { at, value } of levels) {
      const x = width - ((now - at) / WAVE) * width;
      if (x < -step || value === null) continue;
      const tall = Math.max(1, ((Math.max(QUIET, value) - QUIET) / -QUIET) * height);
      pen.fillRect(x, (height - tall) / 2, Math.max(1, step - 1), tall);
    }
  }

  showEvents() {
    const { events } = this.timeline;
    const newest = events.at(-1)?.seq ?? 0;
    if (newest === this.drawn.events || !this.events.parentElement.open) return;
    this.drawn.events = newest;
    this.events.replaceChildren(...events.slice(-MAX_SHOWN).reverse().map(eventItem));
  }

  async copy(gap) {
    const { session, events } = this.timeline;
    const done = await copy(story(session, gap, events, location.origin));
    setText(this.copied, done ? "The story is on the clipboard." : "This browser gives no clipboard: use Download.");
  }

  // A gap of the lanes, in the list below.
  point(key) {
    const item = [...this.gaps.children].find((found) => found.dataset.key === key);
    item?.scrollIntoView({ block: "nearest", behavior: CALM.matches ? "instant" : "smooth" });
    if (!CALM.matches) item?.animate([{ background: "var(--bad-fill)" }, {}], 1_200);
    item?.querySelector("button").focus({ preventScroll: true });
  }

  recolour() {
    this.lanes.recolour();
  }
}

function gapItem(gap, copy) {
  const open = gap.to_ms === null;
  const where = HOPS[gap.hop] ?? LANES.find(({ name }) => name === gap.lane)?.title ?? "Somewhere";
  const lines = [
    make("p", {}, make("b", { text: where }), `: ${gap.text || gap.code}`),
    make(
      "p",
      { class: "soft" },
      [...consequences(gap), ...(gap.actions.length > 1 ? [`done: ${actions(gap.actions)}`] : [])].join("; "),
    ),
  ];
  const button = make("button", {
    type: "button",
    class: "slim",
    text: "Copy",
    "aria-label": `Copy the story of ${clock(gap.from_ms)} as text`,
  });
  button.addEventListener("click", copy);
  return make(
    "li",
    { "data-key": keyOf(gap), class: open ? "open" : "" },
    make(
      "div",
      { class: "when number" },
      make("time", { text: clock(gap.from_ms) }),
      make("span", { class: "soft", text: open ? "" : seconds(gap.to_ms - gap.from_ms) }),
    ),
    make("div", {}, ...lines),
    button,
  );
}

const TOLD = new Set(["seq", "at_ms", "kind", "generation"]);

function eventItem(event) {
  const fields = Object.entries(event).filter(([name, value]) => !TOLD.has(name) && value !== null && value !== "");
  const text = fields
    .map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`)
    .join(" · ");
  return make(
    "li",
    {},
    make("time", { class: "number soft", text: clock(event.at_ms) }),
    make("b", { text: event.kind }),
    make("span", { class: "soft", text }),
  );
}

const panel = (title, ...children) =>
  make("section", { class: "panel", "aria-label": title }, make("h2", { text: title }), ...children);
