"""The whole system in one process and in virtual time: real machines, modelled links, a seed for everything.

The machines of core are the real ones, and so are the classes of a bridge's worker and of a cloud's links. Around the
other machines stand shells that do what cloud/session.py and phone/ do, without sockets; LiveKit is a model of what was
measured on a real server. A seed makes a schedule of faults, the schedule makes a history of facts, and checkers read
the history: the same seed makes the same history, always.
"""
