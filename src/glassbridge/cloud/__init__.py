"""The cloud program: HTTP server, phone socket, sessions, bridge client."""
