// @glassbridge/phone: a phone of your own. In a browser, its ports are in @glassbridge/phone/browser.

export { PhoneClient } from "./client.js";
export { SAMPLE_RATE } from "./frames.js";
export { RULES } from "./rules.js";

/** @typedef {import("./options.js").PhoneOptions} PhoneOptions */
/** @typedef {import("./options.js").MicrophonePort} MicrophonePort */
/** @typedef {import("./options.js").NetworkHints} NetworkHints */
/** @typedef {import("./cloud.js").App} App */
/** @typedef {import("./coding.js").OpusEncoder} OpusEncoder */
/** @typedef {import("./coding.js").OpusFactory} OpusFactory */
/** @typedef {import("./events.js").PhoneEvent} PhoneEvent */
/** @typedef {import("./livekit.js").LiveKit} LiveKit */
/** @typedef {import("./livekit.js").SoundTrack} SoundTrack */
