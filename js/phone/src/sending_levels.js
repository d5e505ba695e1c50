// The levels at which audio is sent: those of core/sending_levels.py (rules.js).

import { RULES } from "./rules.js";

/**
 * @typedef {object} Level One way of sending.
 * @property {string} name
 * @property {string} coding pcm or opus
 * @property {number} bitRate of the coded audio
 * @property {number} frameMs the longest frame; 0: as captured
 * @property {number} copies earlier packets that each frame in the room carries again
 * @property {boolean} both by both routes
 * @property {boolean} reliable if only one route is used, it is the socket, if that is open
 * @property {number} rate on the wire in bit/s
 */

export const { HEADERS, START } = RULES.constants.sending_levels;
/** @type {Level[]} From the best link to the worst. */
export const LEVELS = RULES.constants.sending_levels.LEVELS;
/** @type {Level} */
export const STATIC = RULES.constants.sending_levels.STATIC;
export const LOSSY_LEVEL = LEVELS.findIndex((level) => level.coding === "opus");
export const LAST_BOTH = LEVELS.reduce((last, level, index) => (level.both ? index : last), 0);
export const NARROWEST = LEVELS.length - 1;
