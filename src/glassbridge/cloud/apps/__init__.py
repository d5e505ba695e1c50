"""Third-party apps: who they are, how they are started and kept, what they hear, what they may do."""
