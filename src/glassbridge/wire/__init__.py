"""Says. Message structs, close codes, audio frame codecs, the generated gRPC contract."""
