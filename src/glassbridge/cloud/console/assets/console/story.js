// The story of one fault as text for a ticket, and the way to the clipboard.

import { HOPS, actions, consequences, seconds } from "./words.js";

const AROUND = 2_000; // milliseconds before and after a fault whose events belong to it
const CHATTER = new Set(["voice", "microphone"]);
const KNOWN = new Set(["seq", "at_ms", "kind", "generation", "trace_id"]);

// `cloud`: where the page came from.
export function story({ user, id }, gap, events, cloud) {
  const until = gap.to_ms ?? Infinity;
  const lasted = gap.to_ms === null ? "it goes on" : `${iso(gap.to_ms)} (${seconds(gap.to_ms - gap.from_ms)})`;
  const told = events.filter(
    ({ kind, at_ms }) => !CHATTER.has(kind) && at_ms >= gap.from_ms - AROUND && at_ms <= until + AROUND,
  );
  return [
    `${HOPS[gap.hop] ?? "Somewhere"}: ${gap.text || gap.code} (${gap.code})`,
    `user ${user}, session ${id}, cloud ${cloud}`,
    `from ${iso(gap.from_ms)} to ${lasted}`,
    consequences(gap).join("; "),
    ...(gap.actions.length ? [`done: ${actions(gap.actions)}`] : []),
    ...(told.length ? ["events:", ...told.map((event) => `  ${line(event)}`)] : []),
    `all of it: glassbridge inspect ${user} --session ${id} --cloud ${cloud}`,
    "",
  ].join("\n");
}

function line(event) {
  const fields = Object.entries(event)
    .filter(([name, value]) => !KNOWN.has(name) && value !== null && value !== "")
    .map(([name, value]) => `${name}=${typeof value === "object" ? JSON.stringify(value) : value}`);
  return [iso(event.at_ms).slice(11), event.kind, ...fields].join(" ");
}

const iso = (ms) => new Date(ms).toISOString();

// Whether the text is on the clipboard now. Pages that came by http:// from another machine have no clipboard of their
// own: there the text is selected, and copied as a person would.
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = document.body.appendChild(document.createElement("textarea"));
    field.value = text;
    field.className = "sr";
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}
