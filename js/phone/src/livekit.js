// What a phone uses of livekit-client, so that its types need no others: those of livekit-client name packages that do
// not come with it. A test holds the module itself to them.

/**
 * @typedef {object} SoundTrack A remote track of sound, as `RemoteTrack` has it.
 * @property {string} kind
 * @property {MediaStreamTrack} mediaStreamTrack
 * @property {() => HTMLMediaElement} attach an element that plays it
 * @property {() => HTMLMediaElement[]} detach from all elements
 */
/**
 * @typedef {object} Me
 * @property {(bytes: Uint8Array<ArrayBuffer>, how: {reliable: boolean, topic?: string}) => Promise<unknown>} publishData
 * @property {(track: MediaStreamTrack, how: {source: any, dtx: boolean}) => Promise<unknown>} publishTrack
 */
/**
 * @typedef {object} LiveKitRoom
 * @property {string} name
 * @property {string} state
 * @property {Me} localParticipant
 * @property {ReadonlyMap<string, {identity: string}>} remoteParticipants
 * @property {(url: string, token: string, how: {maxRetries: number}) => Promise<void>} connect
 * @property {() => Promise<void>} disconnect
 * @property {(event: any, hear: (...said: any[]) => void) => LiveKitRoom} on
 */
/**
 * @typedef {object} RoomOptions
 * @property {{nextRetryDelayInMs: () => null}} reconnectPolicy
 * @property {boolean} stopLocalTrackOnUnpublish
 */
/**
 * @typedef {object} LiveKit The module.
 * @property {new (options: RoomOptions) => LiveKitRoom} Room
 * @property {Readonly<Record<"Disconnected" | "Reconnecting" | "SignalReconnecting" | "ParticipantConnected"
 *   | "ParticipantDisconnected" | "TrackSubscribed" | "TrackUnsubscribed", string>>} RoomEvent
 * @property {Readonly<Record<"DUPLICATE_IDENTITY" | "SERVER_SHUTDOWN" | "PARTICIPANT_REMOVED" | "ROOM_DELETED", number>>
 *   } DisconnectReason
 * @property {{Source: {Microphone: string}, Kind: {Audio: string}}} Track
 * @property {{Connected: string}} ConnectionState
 */

export {};
