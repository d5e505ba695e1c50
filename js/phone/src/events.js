// What a phone tells its owner: one type of event each. For a person, `told` alone is enough.

import { RULES } from "./rules.js";

/**
 * @typedef {object} Told One sentence for each turn of things; never that all is well while nothing is heard.
 * @property {"told"} type
 * @property {"connecting" | "offline" | "unreachable" | "connected" | "unheard" | "renewing" | "heard" | "ended"} situation
 * @property {string} text
 * @property {number | null} retryIn seconds to the next attempt, where one is planned
 */
/**
 * @typedef {object} Caption
 * @property {"caption"} type
 * @property {string} text
 * @property {boolean} final
 * @property {number} [start] ms since the session began
 * @property {string} [id]
 * @property {string[]} [replaces] captions that this one takes the place of
 * @property {string} [inserts] the gap that it fills
 */
/**
 * @typedef {object} Gap Words are missing here.
 * @property {"gap"} type
 * @property {string} gap
 * @property {number} start ms since the session began
 * @property {number} seconds
 * @property {string} state
 */
/**
 * @typedef {object} Audio What the cloud says about our audio (`audio_state`).
 * @property {"audio"} type
 * @property {"connecting" | "live" | "interrupted" | "unavailable"} state
 * @property {string} [reason]
 * @property {string} [code]
 * @property {string} [hop]
 * @property {string} [transport]
 * @property {number | null} [retryInMs]
 */
/**
 * @typedef {object} Acknowledged Everything before `position` arrived, but for `lost` samples.
 * @property {"acknowledged"} type
 * @property {number} epoch
 * @property {number} position
 * @property {number} lost
 */
/** @typedef {{type: "speechEnd", captioned: boolean}} SpeechEnded No caption of what was said comes later. */
/** @typedef {{type: "socket", here: boolean, sessionId?: string}} SocketChanged */
/** @typedef {{type: "room", joined: boolean, agent: boolean}} RoomChanged */
/** @typedef {{type: "shown", name: string, text: string}} Shown What an app shows. */
/** @typedef {{type: "app", name: string, state: string, error?: string}} AppChanged */
/** @typedef {{type: "microphone", allowed: boolean}} MicrophoneAsked The cloud has switched it. */
/** @typedef {{type: "sound", track: import("./livekit.js").SoundTrack, on: boolean}} Sound Sound to play, or its end. */
/** @typedef {{type: "level", samples: Int16Array}} Captured A captured frame, for a meter. */
/** @typedef {{type: "error", code: string, text: string}} CloudError The cloud complains about us. */

/**
 * @typedef {Told | Caption | Gap | SpeechEnded | Audio | Acknowledged | SocketChanged | RoomChanged | Shown | AppChanged
 *   | MicrophoneAsked | Sound | Captured | CloudError} PhoneEvent
 */

const REJOINS = new Set(RULES.wire.rejoins);

/**
 * Whether a fresh place of the phone's could be what helps (phone/client.py).
 * @param {{code?: string, hop?: string | null}} notice
 */
export function blame({ code = "", hop }) {
  if (REJOINS.has(code)) return "phone";
  return !hop && code === "no_audio" ? "unknown" : "elsewhere";
}

/**
 * The words of a layout, whichever it is (wire/display.py).
 * @param {object} layout
 */
export const words = (layout) =>
  Object.entries(layout)
    .filter(([key]) => key !== "layoutType" && key !== "data")
    .map(([, value]) => value)
    .join("\n");

const CAPTIONS = "glassbridge.captions";

/**
 * What a message of the cloud means for the owner; null: nothing, or not by itself.
 * @param {any} said
 * @param {Set<string>} apps that the cloud has told of
 * @returns {PhoneEvent | null}
 */
export function eventOf(said, apps) {
  switch (said.type) {
    case "display_event": {
      const { packageName, layout, isFinal, startMs: start, id, replaces, inserts } = said;
      const text = words(layout);
      if (packageName !== CAPTIONS && apps.has(packageName)) return { type: "shown", name: packageName, text };
      return { type: "caption", text, final: isFinal !== false, start, id, replaces, inserts };
    }
    case "speech_end":
      return { type: "speechEnd", captioned: said.captioned !== false };
    case "transcript_gap": {
      const { id: gap, atMs: start, seconds, state } = said;
      return { type: "gap", gap, start, seconds, state };
    }
    case "app_state_change":
      return said.state ? { type: "app", name: said.packageName, state: said.state } : null;
    case "app_stopped":
      return { type: "app", name: said.packageName, state: "stopped", error: said.error };
    case "connection_error":
      return { type: "error", code: said.code ?? "", text: said.message };
    default:
      return null;
  }
}
