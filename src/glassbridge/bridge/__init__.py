"""The bridge program: supervisor, worker, gRPC service, playback."""
