// A browser's ports of a phone: its microphone, what it knows of the network, its Opus encoder.

import { Microphone } from "./microphone.js";
import { watchNetwork } from "./network.js";
import { opusEncoder } from "./opus.js";

export { Microphone, opusEncoder, watchNetwork };

/**
 * All of them, as options of a PhoneClient: `new PhoneClient({ cloud, token, livekit, onEvent, ...(await browser()) })`.
 * @param {{worklet?: string | URL}} [where] the worklet's file, where a bundler moves it
 */
export const browser = async ({ worklet } = {}) => ({
  microphone: new Microphone(worklet),
  network: watchNetwork,
  opus: await opusEncoder(),
});
