// One session as lanes over time: what passed each hop in each second, and in red where it was dead.

import { blamed, clock, ending, make, outcome, seconds, setText } from "./words.js";

const frames = (value) => `${value} frames/s`;

export const LANES = [
  { name: "phone", title: "Phone", columns: ["phone_sent", "socket_sent"], rate: frames, least: 10 },
  { name: "livekit", title: "LiveKit", columns: ["livekit_in"], rate: frames, least: 10 },
  { name: "bridge", title: "Bridge", columns: ["bridge_out"], rate: frames, least: 10 },
  { name: "cloud", title: "Cloud", columns: ["cloud_in", "socket_in"], rate: frames, least: 10 },
  {
    name: "recogniser",
    title: "Recogniser",
    columns: ["recogniser_fed"],
    rate: (value) => `${Math.round(value / 10)} % of real time`,
    least: 1000,
    marks: "recogniser_answered",
  },
  { name: "apps", title: "Apps", columns: ["apps_out"], rate: (value) => `${value} out/s`, least: 10 },
];
export const SPANS = [
  { seconds: 60, title: "1 min" },
  { seconds: 300, title: "5 min" },
  { seconds: 900, title: "15 min" },
];
const CALM = 1.7; // how far above its usual second a lane reaches; what is more is cut off
const NARROW = 6; // pixels of the shortest gap
const BESIDE = 8; // pixels between two labels
const TICKS = 5;

export class Lanes {
  // `point(gap)` is called when a person points at a gap.
  constructor(timeline, point) {
    this.timeline = timeline;
    this.point = point;
    this.span = SPANS[0].seconds;
    this.lanes = LANES.map((lane) => this.build(lane));
    this.axis = make("div", { class: "axis number soft", "aria-hidden": "true" });
    for (let i = 0; i <= TICKS; i += 1) this.axis.append(make("span"));
    this.element = make("div", { class: "lanes" }, ...this.lanes.map(({ element }) => element), this.axis);
    new ResizeObserver(() => this.draw()).observe(this.element);
    this.colours = {};
  }

  build(lane) {
    const shownRate = make("span", { class: "rate number soft" });
    const canvas = make("canvas", { "aria-hidden": "true" });
    const gaps = make("div", { class: "gap-layer" });
    const title = make("h3", { text: lane.title });
    const element = make(
      "div",
      { class: "lane", role: "group", "aria-label": lane.title },
      make("div", { class: "lane-name" }, title, shownRate),
      make("div", { class: "track" }, canvas, gaps),
    );
    return { ...lane, element, shownRate, canvas, gaps, shown: new Map() };
  }

  // Colours come from the theme.
  recolour() {
    const of = (name) => {
      this.axis.style.color = `var(${name})`; // only a property resolves light-dark()
      return getComputedStyle(this.axis).color;
    };
    this.colours = { bar: of("--accent"), zero: of("--line"), mark: of("--ok"), unknown: of("--off") };
    this.axis.style.color = "";
    this.draw();
  }

  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = null;
      const { timeline } = this;
      if (!timeline.session || !this.element.isConnected) return;
      this.seconds = Math.max(0, timeline.length - 1); // the newest second is not told by all hops yet
      this.end = timeline.start + this.seconds * 1000;
      this.begin = this.end - this.span * 1000;
      for (const lane of this.lanes) {
        this.drawLane(lane);
        this.placeGaps(lane);
      }
      this.drawAxis();
    });
  }

  drawLane({ canvas, columns, marks, shownRate, rate, least }) {
    const { timeline, colours, span } = this;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    const sharp = devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * sharp) || canvas.height !== Math.round(height * sharp)) {
      canvas.width = Math.round(width * sharp);
      canvas.height = Math.round(height * sharp);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(sharp, 0, 0, sharp, 0, 0);
    pen.clearRect(0, 0, width, height);
    const from = this.seconds - span;
    const values = Array.from({ length: span }, (_, i) => (from + i < 0 ? undefined : timeline.at(columns, from + i)));
    const most = Math.max(least, usual(values) * CALM);
    const step = width / span;
    const slim = step > 3 ? step - 1 : step;
    values.forEach((value, i) => {
      if (value === undefined) return;
      const x = i * step;
      if (value === null || value === 0) {
        pen.fillStyle = value === null ? colours.unknown : colours.zero;
        pen.globalAlpha = value === null ? 0.35 : 1;
        pen.fillRect(x, height - 2, value === null ? slim / 2 : slim, 2);
        pen.globalAlpha = 1;
        return;
      }
      const tall = Math.max(3, Math.min(1, value / most) * (height - 8));
      pen.fillStyle = colours.bar;
      pen.fillRect(x, height - tall, slim, tall);
      if (marks && timeline.at([marks], from + i) > 0) {
        pen.fillStyle = colours.mark;
        pen.fillRect(x, 0, slim, 3);
      }
    });
    const last = values.findLast((value) => value !== undefined);
    setText(shownRate, last === null || last === undefined ? "unknown" : rate(last));
  }

  // Where a time is: a share of the width.
  share(ms) {
    return (ms - this.begin) / (this.end - this.begin);
  }

  placeGaps({ name, gaps, shown, canvas, element }) {
    const width = canvas.clientWidth;
    const seen = this.timeline.gaps.filter((gap) => gap.lane === name && (gap.to_ms ?? this.end) >= this.begin);
    const keys = new Set(seen.map(keyOf));
    for (const [key, block] of shown) {
      if (keys.has(key)) continue;
      block.remove();
      shown.delete(key);
    }
    let taken = 0; // up to where labels stand
    for (const gap of seen) {
      const block = shown.get(keyOf(gap)) ?? this.block(gap, shown, gaps);
      this.tell(block, gap);
      const left = Math.min(Math.max(0, this.share(gap.from_ms)) * width, width - NARROW);
      const right = Math.max(left + NARROW, Math.min(1, this.share(gap.to_ms ?? this.end)) * width);
      block.style.left = `${left.toFixed(1)}px`;
      block.style.width = `${(right - left).toFixed(1)}px`;
      // The label stands above its gap, moved to the left where it would leave the lane; none stands on another.
      const at = Math.max(0, Math.min(left, width - block.labelWidth));
      const fits = at >= taken;
      block.classList.toggle("labelled", fits);
      block.firstChild.style.left = `${(at - left).toFixed(1)}px`;
      if (fits) taken = at + block.labelWidth + BESIDE;
    }
    element.classList.toggle(
      "dead",
      seen.some((gap) => gap.to_ms === null),
    );
  }

  // The label says it to those who see, the rest to those who point or listen.
  tell(block, gap) {
    const told = `${label(gap)}: ${describe(gap)}`;
    if (block.title === told) return;
    block.title = told;
    block.setAttribute("aria-label", told);
    block.classList.toggle("open", gap.to_ms === null);
    setText(block.firstChild, label(gap));
    block.labelWidth = block.firstChild.offsetWidth;
  }

  block(gap, shown, layer) {
    const above = make("span", { class: "gap-label number", "aria-hidden": "true" });
    const block = make("button", { type: "button", class: "gap" }, above);
    block.addEventListener("click", () => this.point(keyOf(gap)));
    shown.set(keyOf(gap), block);
    layer.append(block);
    return block;
  }

  drawAxis() {
    [...this.axis.children].forEach((tick, i) => {
      setText(tick, i === TICKS ? "now" : clock(this.begin + ((this.end - this.begin) * i) / TICKS));
    });
  }
}

// The median of what passed when something did.
function usual(values) {
  const some = values.filter((value) => value > 0).sort((a, b) => a - b);
  return some[Math.floor(some.length / 2)] ?? 0;
}

export const keyOf = (gap) => `${gap.from_ms} ${gap.hop} ${gap.lane}`;

const label = (gap) => (gap.to_ms === null ? "gone" : `gone ${seconds(gap.to_ms - gap.from_ms)}, ${ending(gap)}`);

const describe = (gap) => `${blamed(gap)}, from ${clock(gap.from_ms)}; ${outcome(gap)}`;
