"""Our place in a LiveKit room, and LiveKit itself.

`participant` is the narrow interface; `own` implements it on aiohttp and aiortc, `sdk` on the official SDK. `server`
runs a real livekit-server, `embedded` a stand-in; both sides of the signalling share the codec in `signal`.
"""
