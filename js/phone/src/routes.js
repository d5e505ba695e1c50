// By which ways audio goes: what is new, what is sent again, and the presence of a silent microphone (core/audio_routes.py;
// a test lets both decide every case).

import { RULES } from "./rules.js";

const { AWAITED, FRESH, PRESENCE, PROVING, SILENT, TAIL } = RULES.constants.audio_routes;

/** @typedef {import("./sending.js").Route} Route */

/**
 * For new audio.
 * @param {{room: boolean, socket: boolean, both: boolean, reliable: boolean}} known `room`: it is joined, and the cloud
 *   listens there; `both` and `reliable` are those of the level of sending
 * @returns {Route[]}
 */
export function chooseRoutes({ room, socket, both, reliable }) {
  if (room && socket && both) return ["livekit", "websocket"];
  if (room && !(reliable && socket && !both)) return ["livekit"];
  return socket ? ["websocket"] : [];
}

/**
 * Whether the other side may not hear us although nobody says so.
 * @param {number} silent seconds in which it acknowledged nothing although something is on its way
 * @param {number} trip the round trip, which grows where the link is full
 */
export const isDoubtful = (silent, trip) => silent >= SILENT + trip;

/**
 * For samples that the cloud misses; `later`: by the socket, behind what is new.
 * @param {number} age seconds; infinite where nothing is measured
 * @param {{due: boolean, room: boolean, carried: boolean}} known `due`: they were not sent again just now; `room`: it may
 *   carry more; `carried`: the socket carries them, or will, and TCP loses nothing
 */
export function chooseAgain(age, { due, room, carried }) {
  const atOnce = due && age <= AWAITED;
  return { room: atOnce && room && age < FRESH, socket: atOnce && !carried, later: age > AWAITED && !carried };
}

/**
 * Seconds between presence frames.
 * @param {string | null} state what the cloud said last; null: nothing
 * @param {string | null} code
 * @param {boolean} spoke somebody did just now
 */
export function presenceInterval(state, code, spoke) {
  const isKnown = state === "live" || (state !== null && state !== "connecting" && code === "slow_network");
  if (!isKnown) return PROVING;
  return spoke ? TAIL : PRESENCE;
}
