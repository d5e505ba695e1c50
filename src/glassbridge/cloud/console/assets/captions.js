// Captions, and the gaps in them, in the order in which they were said.
//
// A row of words: { id, start, text, inserts, replaces }; of a gap: { gap, start, seconds, state }. What inserts comes late,
// and takes the place of what it replaces. A gap that was filled goes: its words are in its place.

// The rows with this one in its place.
export function placed(rows, row) {
  const gone = new Set(row.replaces ?? []);
  const kept = rows.filter(({ id }) => id === undefined || !gone.has(id));
  const known = row.gap === undefined ? -1 : kept.findIndex(({ gap }) => gap === row.gap);
  const news = row.state === "filled" ? [] : [known < 0 ? row : { ...row, at: kept[known].at }];
  const late = row.gap !== undefined || Boolean(row.inserts);
  const later = late ? kept.findIndex(({ start }) => start > row.start) : -1;
  if (known >= 0) kept.splice(known, 1, ...news);
  else kept.splice(later < 0 ? kept.length : later, 0, ...news);
  return kept;
}

export const missing = ({ seconds, state }) =>
  `${Math.round(seconds)} s are missing${state === "open" ? ": the phone may still send them" : ""}`;
