"""Third-party apps: their identity, how they are started and kept, their streams and permissions."""
