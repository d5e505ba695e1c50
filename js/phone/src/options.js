// What a phone is given: where its cloud is, and the ports of the device that it runs on.

/** @typedef {import("./events.js").PhoneEvent} PhoneEvent */

/**
 * @typedef {object} MicrophonePort The app's own capture; `speak` does as well.
 * @property {(onFrame: (samples: Int16Array, capturedAt: number) => void, clock: () => number) => Promise<void>} open
 *   frames of PCM16, 16 kHz, mono, each with the time of its first sample by `clock`; rejects with an Error for people
 * @property {() => Promise<void>} close
 * @property {MediaStreamTrack} [track] to be published, with `transport: "track"`
 * @property {(on: boolean) => void} [audible] whether that track carries sound, or silence
 */
/**
 * @typedef {object} NetworkHints Called by whoever watches the device's network.
 * @property {() => void} changed another network, or it is back
 * @property {() => void} lost there is none
 */
/**
 * @typedef {object} PhoneOptions
 * @property {string} cloud its URL, such as https://cloud.example.com
 * @property {string} token the core token of the person
 * @property {(event: PhoneEvent) => void} onEvent
 * @property {import("./livekit.js").LiveKit} [livekit] the module; without it audio goes by the WebSocket only
 * @property {"data" | "track" | "websocket"} [transport] how audio travels: numbered packets (default), a track, the socket
 * @property {MicrophonePort} [microphone]
 * @property {(hints: NetworkHints) => () => void} [network] watches the device's network, returns how to end that
 * @property {import("./coding.js").OpusFactory | null} [opus] for links that do not carry PCM
 * @property {string} [model] of the glasses or the phone, for apps
 * @property {typeof WebSocket} [WebSocket]
 * @property {() => number} [clock] seconds that never jump back and go on in sleep
 * @property {() => number} [chance] numbers in [0, 1)
 */

export {};
