"""Weeks in virtual time: the programs' own classes, each process on an event loop of its own, in one network."""
