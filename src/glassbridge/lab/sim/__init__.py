"""The whole system in one process and in virtual time: modelled links, a seed for everything.

Clouds and bridges are their own classes, each process on an event loop by its own clock. Of phones the machines are the
real ones, in a shell that does what phone/ does. LiveKit is a model of what was measured on a real server, gRPC and
WebSockets are models of what passes by them. A seed makes a schedule of faults, the schedule makes a history of facts,
and checkers read the history: the same seed makes the same history, always.
"""
